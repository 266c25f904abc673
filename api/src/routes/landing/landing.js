// Polls readiness for everybody and figures for whoever has a key. The key stays in this tab.
"use strict";
const POLL_MS = 2000;
const byId = (id) => document.getElementById(id);
const numbers = new Intl.NumberFormat(document.documentElement.lang);

async function showState() {
  const state = byId("state");
  try {
    const answer = await fetch("/readyz");
    const body = await answer.json();
    state.textContent = answer.ok ? state.dataset.ready : state.dataset.waiting;
    byId("clock").textContent = body.clock === "manual" ? byId("clock").dataset.manual : "";
  } catch {
    state.textContent = state.dataset.gone;
  }
}

async function showFigures() {
  const key = sessionStorage.getItem("key");
  if (!key) return;
  try {
    const answer = await fetch("/api/v1/stats", { headers: { "X-Api-Key": key } });
    byId("problem").textContent = answer.ok ? "" : byId("problem").dataset.denied;
    if (!answer.ok) return;
    const stats = await answer.json();
    for (const cell of document.querySelectorAll("[data-figure]")) {
      const value = stats[cell.dataset.figure];
      cell.textContent = typeof value === "number" ? numbers.format(value) : "–";
    }
  } catch {
    // The state line says that the server cannot be reached.
  }
}

byId("show").addEventListener("click", () => {
  sessionStorage.setItem("key", byId("key").value.trim());
  byId("key").value = "";
  showFigures();
});
showState();
showFigures();
setInterval(showState, POLL_MS);
setInterval(showFigures, POLL_MS);
