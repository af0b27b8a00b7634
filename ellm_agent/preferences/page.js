"use strict";
// What both pages share: they ask for a state, show it, and send choices. Each defines show(state), which sets `shown`,
// and then calls begin.
const LOOK_AGAIN = 1000, LOOK_SELDOM = 5000; // ms
const at = (id) => document.getElementById(id);
let shown = null; // key of what is shown, and can be chosen from
let over = false; // all choices have been made
let busy = false; // a choice is on its way
let turn = 0; // choices so far, to know a state that is older than the last one

class Gone extends Error {} // nobody answers

async function send(path, content) {
  const request = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(content) };
  const response = await fetch(path, content === undefined ? {} : request).catch(() => { throw new Gone(); });
  const state = await response.json();
  if (!response.ok) throw new Error(state.error);
  return state;
}

function showProgress(state, ready, looking, more = []) {
  over = state.labels >= state.count;
  enable(true);
  at("labels").textContent = state.labels;
  at("done").value = state.labels / state.count;
  at("more").textContent = [` of ${state.count}`, ...more].join(" · ");
  at("message").textContent = ready ? "" : over ? "That is all: thank you." : looking;
}

function report(error) {
  const gone = error instanceof Gone;
  at("message").textContent = gone ? "The program has ended. Your choices are kept." : error.message;
  enable(!gone);
}

function enable(enabled) {
  document.querySelectorAll("[data-choice]").forEach((button) => (button.disabled = !enabled));
}

async function choose(choice) {
  if (busy || (shown === null && choice !== "undo")) return; // a key pressed twice, or nothing to choose from
  busy = true;
  turn += 1;
  const button = document.querySelector(`#clips [data-choice="${choice}"], #answers [data-choice="${choice}"]`);
  if (button) button.classList.add("chosen");
  const value = isNaN(choice) ? choice : Number(choice);
  try {
    show(await (choice === "undo" ? send("undo", {}) : send("choice", { key: shown, choice: value })));
  } catch (error) {
    report(error);
  } finally {
    document.querySelectorAll(".chosen").forEach((chosen) => chosen.classList.remove("chosen"));
    busy = false;
  }
}

async function look() { // again and again, and never in the way of a choice
  const mine = turn;
  try {
    const state = busy || over ? null : await send("state");
    if (state && mine === turn) show(state);
  } catch (error) {
    report(error);
  }
  setTimeout(look, shown === null ? LOOK_AGAIN : LOOK_SELDOM);
}

function begin(keys) { // key -> choice
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || !(event.key in keys)) return;
    event.preventDefault();
    choose(keys[event.key]);
  });
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-choice]");
    if (!button) return;
    button.blur();
    choose(button.dataset.choice);
  });
  look();
}
