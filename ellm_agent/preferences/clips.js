"use strict";
const KEYS = { ArrowLeft: "left", ArrowRight: "right", ArrowDown: "tie", " ": "unsure", u: "undo", U: "undo" };
const LOOK_AGAIN = 1000; // ms
const at = (id) => document.getElementById(id);
let shown = null; // key of the query that is shown
let busy = false; // a choice is on its way
let turn = 0; // choices so far, to know a state that is older than the last one

async function send(path, content) {
  const request = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(content) };
  return read(await fetch(path, content === undefined ? {} : request));
}

async function read(response) {
  const state = await response.json();
  if (!response.ok) throw new Error(state.error);
  return state;
}

function show(state) {
  const [query, next] = state.queries;
  at("labels").textContent = state.labels;
  at("done").value = state.labels / state.count;
  const parts = [` of ${state.count}`];
  if (state.agreement !== undefined) parts.push(`the models agree on ${Math.round(100 * state.agreement)} %`);
  if (state.frames !== undefined) parts.push(`${state.frames.toLocaleString("en")} frames played`);
  at("more").textContent = parts.join(" · ");
  draw(state.curve || []);
  at("clips").hidden = !query;
  const over = state.labels >= state.count;
  at("message").textContent = query ? "" : over ? "That is all: thank you." : "Looking for clips…";
  if (query && query.key !== shown) {
    for (const side of ["left", "right"]) {
      at(side).src = `${query.key}/${side}`;
      at(`${side}-events`).textContent = query[side].join(", ") || "nothing new";
    }
    document.querySelectorAll(".chosen").forEach((button) => button.classList.remove("chosen"));
  }
  shown = query ? query.key : null;
  if (next) for (const side of ["left", "right"]) new Image().src = `${next.key}/${side}`;
  if (!query && !over) setTimeout(look, LOOK_AGAIN);
}

function draw(curve) {
  at("curve").toggleAttribute("hidden", curve.length < 2);
  const last = Math.max(1, ...curve.map(([labels]) => labels));
  const points = curve.map(([labels, share]) => `${(300 * labels) / last},${90 - 90 * share}`);
  at("curve").querySelector("polyline").setAttribute("points", points.join(" "));
}

function report(error) {
  at("message").textContent = error instanceof TypeError ? "The program has ended; your choices are kept." : error.message;
}

async function act(work) {
  if (busy) return; // a key pressed twice
  busy = true;
  turn += 1;
  try {
    show(await work());
  } catch (error) {
    report(error);
  } finally {
    busy = false;
  }
}

async function look() { // never in the way of a choice
  const mine = turn;
  try {
    const state = await send("state");
    if (mine === turn) show(state);
  } catch (error) {
    report(error);
  }
}

function choose(choice) {
  if (choice === "undo") return act(() => send("undo", {}));
  if (!shown) return undefined;
  const button = document.querySelector(`.clip[data-choice=${choice}]`);
  if (button) button.classList.add("chosen");
  return act(() => send("choice", { key: shown, choice }));
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || !(event.key in KEYS)) return;
  event.preventDefault();
  choose(KEYS[event.key]);
});
document.querySelectorAll("[data-choice]").forEach((button) => {
  button.addEventListener("click", () => { button.blur(); choose(button.dataset.choice); });
});
at("undo").addEventListener("click", () => { at("undo").blur(); choose("undo"); });
look();
setInterval(() => { if (shown && !busy) look(); }, 5000);
