"use strict";
const SIDES = ["left", "right"];
const FEW = 20; // choices after which figures about them say something

function show(state) {
  const [query, next] = state.queries, more = [];
  if (state.agreement !== undefined && state.labels >= FEW) more.push(`the models that learn from you agree on ${Math.round(100 * state.agreement)} % of new pairs`);
  if (state.frames !== undefined) {
    more.push(`the agent has played ${[state.frames, state.total].map((n) => n.toLocaleString("en")).join(" of ")} frames`);
  }
  showProgress(state, query, "Looking for clips…", more);
  at("question").textContent = state.question;
  draw(state.curve || []);
  at("clips").hidden = !query;
  if (query && query.key !== shown) {
    for (const side of SIDES) {
      at(side).src = `${query.key}/${side}`;
      at(`${side}-events`).textContent = query[side].join(", ") || "nothing new";
    }
  }
  shown = query ? query.key : null;
  if (next) for (const side of SIDES) new Image().src = `${next.key}/${side}`;
}

function draw(curve) {
  curve = curve.filter(([labels]) => labels >= FEW);
  at("curve").toggleAttribute("hidden", curve.length < 2);
  const last = Math.max(1, ...curve.map(([labels]) => labels));
  const points = curve.map(([labels, share]) => `${(300 * labels) / last},${90 - 90 * share}`);
  at("curve").querySelector("polyline").setAttribute("points", points.join(" "));
}

begin({ ArrowLeft: "left", ArrowRight: "right", ArrowDown: "tie", " ": "unsure", u: "undo", U: "undo" });
