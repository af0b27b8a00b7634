"use strict";
// What both pages share: they ask for a state, show it, and send choices. Each defines show(state), which sets `shown`,
// and then calls begin.
const LOOK_AGAIN = 1000, LOOK_SELDOM = 5000; // ms
const SEEN = 250; // ms for which what was chosen is marked, at least
const at = (id) => document.getElementById(id);
let shown = null; // key of what is shown, and can be chosen from
let last = null; // the last state
let gone = false; // nobody answers
let busy = false; // a choice is on its way
let turn = 0; // choices so far, to know a state that is older than the last one

class Gone extends Error {}

async function send(path, content) {
  const request = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(content) };
  const response = await fetch(path, content === undefined ? {} : request).catch(() => { throw new Gone(); });
  const state = await response.json();
  if (!response.ok) throw new Error(state.error);
  return state;
}

function update(state) {
  last = state;
  gone = false;
  show(state);
  enable();
}

const over = () => last !== null && last.labels >= last.count; // all choices have been made

function showProgress(state, ready, looking, meanwhile = "") {
  at("labels").textContent = state.labels;
  at("done").value = state.labels / state.count;
  at("more").textContent = ` of ${state.count} choices made.${state.finished ? "" : meanwhile}`;
  const steps = state.finished && state.total.toLocaleString("en");
  at("message").textContent = state.finished
    ? `The agent has played all its ${steps} steps. ${made()} The program's output in the terminal names the report.`
    : ready ? "" : over() ? "That is all: thank you." : looking;
}

const made = () => (last ? `${last.labels} of ${last.count} choices were made; all of them are kept.` : "");

function report(error) {
  gone = error instanceof Gone;
  if (!gone) at("message").textContent = error.message;
  else if (!over()) {
    const more = "Its output in the terminal says more.";
    at("message").textContent = `The program has ended, or cannot be reached. ${made()} ${more}`;
  }
  if (gone) at("more").textContent = last ? ` of ${last.count} choices made.` : "";
  enable();
}

function enable() {
  document.querySelectorAll("[data-choice]").forEach((button) => (button.disabled = !can(button.dataset.choice)));
  document.body.classList.toggle("ended", gone || Boolean(last?.finished));
}

function can(choice) {
  return !gone && last !== null && !last.finished && (choice === "undo" ? last.undoable : shown !== null);
}

async function choose(choice) {
  if (busy || !can(choice)) return; // a key pressed twice, or nothing to choose from
  busy = true;
  turn += 1;
  document.querySelector(`[data-choice="${choice}"]`).classList.add("chosen");
  const value = isNaN(choice) ? choice : Number(choice);
  const sent = choice === "undo" ? send("undo", {}) : send("choice", { key: shown, choice: value });
  try {
    const [state] = await Promise.all([sent, new Promise((resolve) => setTimeout(resolve, SEEN))]);
    update(state);
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
    const idle = over() && last.finished === undefined; // nothing comes any more
    const state = busy || idle ? null : await send("state");
    if (state && mine === turn) update(state);
  } catch (error) {
    report(error);
  }
  if (!last?.finished) setTimeout(look, shown === null ? LOOK_AGAIN : LOOK_SELDOM);
}

function begin(keys) { // key -> choice
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || !(event.key in keys)) return;
    if (event.target.matches("summary")) return; // space opens it
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
