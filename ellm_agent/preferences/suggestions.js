"use strict";

function show(state) {
  const { scene } = state;
  showProgress(state, scene, "Looking for a scene…");
  const key = scene ? scene.key : null;
  if (key !== shown) {
    at("scene").textContent = scene ? scene.caption : "";
    at("answers").replaceChildren(...(scene ? scene.answers : []).map(button));
  }
  shown = key;
}

function button(text, number) {
  const made = document.createElement("button"), key = document.createElement("kbd");
  made.type = "button";
  made.dataset.choice = number;
  key.textContent = number + 1;
  made.append(key, ` ${text}`);
  return made;
}

begin({ 1: 0, 2: 1, 3: 2, 4: 3, " ": "unsure", u: "undo", U: "undo" });
