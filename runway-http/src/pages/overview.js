// Keeps the page up to date. The server sends each part as escaped HTML. Unchanged nodes stay in the document, so
// that the focus, the selection and open details are preserved.
"use strict";
// Without an update, the server sends an `alive` event every 15 s.
const MAX_SILENCE_MS = 40_000;
const RECONNECT_DELAY_MS = 5_000;
const state = document.getElementById("state");
const outage = document.getElementById("outage");
const title = document.title;
let lastNews = new Date();
let events;
let timer;

function update(old, next) {
  if (old.nodeType !== next.nodeType || old.nodeName !== next.nodeName) {
    old.replaceWith(next);
    return;
  }
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== next.data) old.data = next.data;
    return;
  }
  for (const { name, value } of next.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  for (const { name } of [...old.attributes]) {
    // Keep details open that the user has opened.
    if (!next.hasAttribute(name) && name !== "open") old.removeAttribute(name);
  }
  updateChildren(old, next);
}

// Matches children by id if they have one, and by position otherwise.
function updateChildren(old, next) {
  const named = new Map([...old.children].filter((child) => child.id).map((child) => [child.id, child]));
  let here = old.firstChild;
  for (const child of [...next.childNodes]) {
    const known = child.id ? named.get(child.id) : here && !here.id ? here : undefined;
    if (known === undefined) {
      old.insertBefore(child, here);
      continue;
    }
    if (known === here) here = here.nextSibling;
    else old.insertBefore(known, here);
    update(known, child);
  }
  while (here) {
    const rest = here.nextSibling;
    here.remove();
    here = rest;
  }
}

function updateParts(parts) {
  const focused = document.activeElement;
  for (const [id, html] of Object.entries(parts)) {
    const part = document.getElementById(id);
    if (part) {
      const next = document.createElement("template");
      next.innerHTML = html;
      updateChildren(part, next.content);
    }
  }
  // An element that was moved has lost the focus.
  if (focused !== document.activeElement && focused.isConnected) focused.focus({ preventScroll: true });
}

function setOutage(isOutage) {
  // Change the alert only once, because screen readers announce each change.
  if (isOutage === !outage.hidden) return;
  if (isOutage) {
    const time = outage.querySelector("time");
    time.dateTime = lastNews.toISOString();
    time.textContent = lastNews.toLocaleString();
  }
  outage.hidden = !isOutage;
  state.hidden = isOutage;
  document.body.classList.toggle("outdated", isOutage);
  document.title = isOutage ? `⚠ No response – ${title}` : title;
}

function recordNews() {
  lastNews = new Date();
  setOutage(false);
  reconnectAfter(MAX_SILENCE_MS);
}

function reconnectAfter(milliseconds) {
  clearTimeout(timer);
  timer = setTimeout(() => {
    setOutage(true);
    connect();
  }, milliseconds);
}

function connect() {
  events?.close();
  events = new EventSource("overview/events");
  events.onmessage = (event) => {
    updateParts(JSON.parse(event.data));
    recordNews();
  };
  events.addEventListener("alive", recordNews);
  events.onerror = () => {
    setOutage(true);
    // The browser reconnects after a lost connection, but not after an error response.
    if (events.readyState === EventSource.CLOSED) reconnectAfter(RECONNECT_DELAY_MS);
  };
  reconnectAfter(MAX_SILENCE_MS);
}

connect();
