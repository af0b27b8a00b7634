"use strict";
const SIDES = ["left", "right"];
const FEW = 20; // choices after which figures about them say something
const LATE = 0.8; // share of the agent's time after which the page says how much is left
const loaded = new Map(); // key of a pair -> promise of both its pictures; of null, if one cannot be had
let wanted = null; // key of the pair that is shown, or will be once its pictures are there
let start = null; // time and the agent's frames when the page first heard of them

function show(state) {
  const [query, next] = state.queries, key = query ? query.key : null;
  showProgress(state, query, "Looking for clips…", meanwhile(state));
  at("question").textContent = state.question;
  at("sure").textContent = sure(state);
  draw(state.curve || []);
  at("clips").hidden = !query;
  if (key !== wanted) {
    wanted = key;
    shown = null;
    for (const side of SIDES) {
      at(side).textContent = "loading…";
      at(`${side}-events`).textContent = "";
    }
    if (query) load(query);
  }
  if (next) pictures(next.key);
  for (const old of loaded.keys()) if (old !== key && old !== next?.key) loaded.delete(old);
}

// Captions, both pictures and the buttons appear together: nobody chooses between clips that are not there yet.
async function load(query) {
  const images = await pictures(query.key);
  if (wanted !== query.key) return; // another pair by now
  if (!images) {
    wanted = null; // the next look tries again
    at("message").textContent = "The clips did not load. Trying again…";
    return;
  }
  SIDES.forEach((side, i) => {
    at(side).replaceChildren(images[i]); // both in one turn: their loops start in step
    const events = query[side].join(", ");
    at(`${side}-events`).textContent = events ? `for the first time: ${events}` : "nothing for the first time";
  });
  shown = query.key;
  enable();
}

function pictures(key) {
  if (!loaded.has(key)) {
    const images = SIDES.map((side) => Object.assign(new Image(), { src: `${key}/${side}`, alt: `${side} clip` }));
    const both = Promise.all(images.map((image) => image.decode())).then(() => images);
    loaded.set(key, both.catch(() => (loaded.delete(key), null)));
  }
  return loaded.get(key);
}

function meanwhile({ frames, total }) {
  if (frames === undefined) return "";
  start ??= { frames, time: Date.now() };
  const share = Math.min(1, frames / total);
  const minutes = ((total - frames) / (frames - start.frames)) * (Date.now() - start.time) / 60000;
  const left = share > LATE && share < 1 && isFinite(minutes) ? ` (about ${Math.ceil(minutes)} min left)` : "";
  const over = `${Math.floor(100 * share)} % of its time is over${left}`;
  return ` Meanwhile the agent practises: ${over}. When it ends, the program ends.`;
}

function sure({ agreement, labels }) {
  if (agreement === undefined || labels < FEW) return "";
  const share = `${Math.round(100 * agreement)} % agreement of its models`;
  const sure = agreement < 0.5 ? "still unsure" : "sure";
  return `The program is ${sure} which clip you would choose in most new pairs (${share}).`;
}

function draw(curve) {
  curve = curve.filter(([labels]) => labels >= FEW);
  at("curve").toggleAttribute("hidden", curve.length < 2);
  const last = Math.max(1, ...curve.map(([labels]) => labels));
  const points = curve.map(([labels, share]) => `${(300 * labels) / last},${90 - 90 * share}`);
  at("curve").querySelector("polyline").setAttribute("points", points.join(" "));
}

begin({ ArrowLeft: "left", ArrowRight: "right", ArrowDown: "tie", " ": "unsure", u: "undo", U: "undo" });
