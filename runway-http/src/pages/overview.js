// Keeps the page as the server sees it. Every part comes as HTML that the server has escaped.
"use strict";
const shown = new Map();
const state = document.getElementById("state");
const events = new EventSource("overview/events");
events.onmessage = (event) => {
  for (const [id, html] of Object.entries(JSON.parse(event.data))) {
    const part = document.getElementById(id);
    if (part && shown.get(id) !== html) {
      part.innerHTML = html;
      shown.set(id, html);
    }
  }
};
events.onerror = () => {
  shown.delete("state");
  state.textContent = "The server does not answer. This is what was last known; it is tried again.";
};
