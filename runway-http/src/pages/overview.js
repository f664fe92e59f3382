// Keeps the page up to date. The server sends each part as escaped HTML. Unchanged nodes stay in the document, so
// that the focus, the selection and open details are preserved.
"use strict";
const state = document.getElementById("state");

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

const events = new EventSource("overview/events");
events.onmessage = (event) => {
  const focused = document.activeElement;
  for (const [id, html] of Object.entries(JSON.parse(event.data))) {
    const part = document.getElementById(id);
    if (part) {
      const next = document.createElement("template");
      next.innerHTML = html;
      updateChildren(part, next.content);
    }
  }
  // An element that was moved has lost the focus.
  if (focused !== document.activeElement && focused.isConnected) focused.focus({ preventScroll: true });
};
events.onerror = () => {
  state.textContent = "The server does not respond. The data may be outdated. Reconnecting.";
};
