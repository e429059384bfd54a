// Fetches the page's body again every two seconds. Without it the page reads
// the same and stands still.
"use strict";
(() => {
  const EVERY_MS = 2000;
  const live = document.getElementById("live");
  const silence = document.getElementById("silence");
  const pause = document.getElementById("pause");
  const address = new URL(location.href);
  address.searchParams.set("lang", document.documentElement.lang);
  address.searchParams.set("body", "1");
  let paused = false;
  let spoken = document.getElementById("sentence")?.textContent;

  const refresh = async () => {
    const response = await fetch(address, { signal: AbortSignal.timeout(10000) });
    if (!response.ok) throw new Error(response.status);
    const next = document.createElement("template");
    next.innerHTML = await response.text();
    // Neither a selection nor a focused element is taken away from its reader.
    const selected = getSelection();
    const reading = !selected.isCollapsed && live.contains(selected.anchorNode);
    if (paused || reading || live.contains(document.activeElement)) return;
    live.replaceChildren(next.content);
    const sentence = document.getElementById("sentence")?.textContent;
    // Only what changes in kind is announced, not every figure.
    const kind = (text) => text?.replace(/[\d\s.,<−]+/g, "");
    silence.textContent = "";
    silence.classList.remove("shown");
    if (kind(sentence) !== kind(spoken)) silence.textContent = sentence;
    spoken = sentence;
  };

  const fell = () => {
    if (silence.classList.contains("shown")) return;
    silence.textContent = silence.dataset.text + (live.querySelector("time")?.textContent ?? "");
    silence.classList.add("shown");
  };

  const next = () => setTimeout(async () => {
    if (!paused && !document.hidden) await refresh().catch(fell);
    next();
  }, EVERY_MS);

  const labels = [pause.textContent, pause.dataset.resume];
  pause.hidden = false;
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.textContent = labels[Number(paused)];
  });
  next();
})();
