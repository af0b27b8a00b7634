"use strict";
const at = (id) => document.getElementById(id);
let shown = null; // number of the scene that is shown
let busy = false;

async function send(path, content) {
  const request = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(content) };
  const response = await fetch(path, content === undefined ? {} : request);
  const state = await response.json();
  if (!response.ok) throw new Error(state.error);
  return state;
}

function show(state) {
  at("labels").textContent = state.labels;
  at("done").value = state.labels / state.count;
  at("more").textContent = ` of ${state.count}`;
  shown = state.scene ? state.scene.key : null;
  const over = state.labels >= state.count;
  at("message").textContent = shown !== null ? "" : over ? "That is all: thank you." : "Looking for a scene…";
  at("scene").textContent = shown !== null ? state.scene.caption : "";
  const answers = shown !== null ? state.scene.answers : [];
  at("answers").replaceChildren(...answers.map((text, number) => {
    const button = document.createElement("button"), key = document.createElement("kbd");
    button.type = "button";
    key.textContent = number + 1;
    button.append(key, ` ${text}`);
    button.addEventListener("click", () => choose(number));
    return button;
  }));
  if (shown === null && !over) setTimeout(() => act(() => send("state")), 1000);
}

async function act(work) {
  if (busy) return;
  busy = true;
  try {
    show(await work());
  } catch (error) {
    at("message").textContent = error instanceof TypeError ? "The program has ended; your choices are kept." : error.message;
  } finally {
    busy = false;
  }
}

function choose(choice) {
  if (choice === "undo") return act(() => send("undo", {}));
  if (shown === null) return undefined;
  return act(() => send("choice", { key: shown, choice: choice === "unsure" ? null : choice }));
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  const choice = { " ": "unsure", u: "undo", U: "undo", 1: 0, 2: 1, 3: 2, 4: 3 }[event.key];
  if (choice === undefined) return;
  event.preventDefault();
  choose(choice);
});
document.querySelector("[data-choice]").addEventListener("click", (event) => { event.target.blur(); choose("unsure"); });
at("undo").addEventListener("click", () => { at("undo").blur(); choose("undo"); });
act(() => send("state"));
