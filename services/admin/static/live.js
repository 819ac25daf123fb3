// The client of `/ws`: connects, stays connected, and misses nothing. It knows nothing of pages.
//
//   const live = createLive({ url, cursor })
//   live.on("event", (event) => …)     // {type, payload, timestamp, id, cursor}, each once
//   live.on("gap", (message) => …)     // events were dropped before we came back for them
//   live.on("status", (status) => …)   // connected, connecting, disconnected
//   live.on("refused", (reason) => …)  // the server does not let us in: no further try
//   live.connect(); live.status(); live.off("event", handler); live.disconnect()

const FIRST_WAIT = 250; // ms; doubled after each failure
const LONGEST_WAIT = 8000;
const PING_EVERY = 20000;
const ANSWER_WITHIN = 10000;
const REMEMBERED = 500; // event ids: a resumed stream may repeat its first ones
const REFUSED = 1008;

export function createLive({ url, cursor = "", events = [], storage = null, WebSocket = globalThis.WebSocket }) {
  const handlers = new Map();
  const seen = new Set();
  let socket = null;
  let state = "disconnected";
  let wanted = false;
  let failures = 0;
  let position = cursor || storage?.getItem("cursor") || "";
  let retry = 0;
  let pinging = 0;
  let waiting = 0;

  function emit(name, value) {
    for (const handler of [...(handlers.get(name) ?? [])]) handler(value);
  }

  function become(next) {
    if (next === state) return;
    state = next;
    emit("status", state);
  }

  function address() {
    const full = new URL(url, location.href);
    full.protocol = full.protocol === "https:" ? "wss:" : full.protocol === "http:" ? "ws:" : full.protocol;
    if (events.length) full.searchParams.set("events", events.join(","));
    if (position) full.searchParams.set("last_event_id", position);
    return full;
  }

  function open() {
    clearTimeout(retry);
    become("connecting");
    const mine = new WebSocket(address());
    socket = mine;
    mine.onmessage = (message) => mine === socket && receive(message.data);
    mine.onclose = (event) => mine === socket && closed(event);
  }

  function receive(text) {
    clearTimeout(waiting);
    let message;
    try {
      message = JSON.parse(text);
    } catch {
      return;
    }
    if (message.type === "connection") {
      failures = 0;
      if (!position) remember(message.cursor);
      keepAwake();
      become("connected");
    } else if (message.type === "gap") {
      remember(message.cursor);
      emit("gap", message);
    } else if (message.id) {
      remember(message.cursor);
      if (seen.has(message.id)) return;
      seen.add(message.id);
      if (seen.size > REMEMBERED) seen.delete(seen.values().next().value);
      emit("event", message);
    }
  }

  function remember(next) {
    if (!next) return;
    position = next;
    storage?.setItem("cursor", next);
  }

  // A connection that died without a word is found by a ping that nobody answers.
  function keepAwake() {
    clearInterval(pinging);
    pinging = setInterval(() => {
      if (socket?.readyState !== 1) return;
      socket.send('{"type": "ping"}');
      clearTimeout(waiting);
      waiting = setTimeout(drop, ANSWER_WITHIN);
    }, PING_EVERY);
  }

  function drop() {
    const dead = socket;
    closed({ code: 0, reason: "" });
    dead?.close();
  }

  function closed({ code, reason }) {
    clearInterval(pinging);
    clearTimeout(waiting);
    socket = null;
    if (code === REFUSED) {
      // Either who we are or where we stood is not known any more; only the latter is worth another try.
      if (reason.startsWith("last_event_id") && position) {
        position = "";
        storage?.removeItem("cursor");
        emit("gap", { message: reason });
      } else {
        wanted = false;
        become("disconnected");
        emit("refused", reason);
        return;
      }
    }
    if (!wanted) return become("disconnected");
    const wait = Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** failures++) * (0.75 + Math.random() / 2);
    become(failures > 2 ? "disconnected" : "connecting");
    retry = setTimeout(open, wait);
  }

  function hurry() {
    if (wanted && !socket) {
      failures = 0;
      open();
    }
  }

  return {
    connect() {
      if (wanted) return;
      wanted = true;
      addEventListener("online", hurry);
      open();
    },
    disconnect() {
      wanted = false;
      removeEventListener("online", hurry);
      clearTimeout(retry);
      socket?.close();
      if (!socket) become("disconnected");
    },
    on(name, handler) {
      if (!handlers.has(name)) handlers.set(name, new Set());
      handlers.get(name).add(handler);
    },
    off(name, handler) {
      handlers.get(name)?.delete(handler);
    },
    status: () => state,
  };
}
