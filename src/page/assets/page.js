// Puts the parts that the daemon sends into the page, and says since when nothing has come.
"use strict";
(() => {
  const SILENCE = 8000; // milliseconds without an event, which comes each second, after which the daemon is silent
  const LONGEST = 15000; // longest pause between two attempts, in milliseconds
  const HIDDEN = 60000; // a page that nobody sees for so long gives its connection back
  const byId = (id) => document.getElementById(id);
  const root = document.documentElement;
  const lost = byId("lost");
  const since = byId("since");
  let source = null;
  let heard = Date.now();
  let clock = byId("clock").textContent;
  let title = document.title;
  let pause = 1000;
  let next = null;
  let hiding = null;
  let why = null; // null while events come

  // "14 seconds ago", in the page's language.
  const age = (milliseconds) => {
    const seconds = Math.max(0, Math.round(milliseconds / 1000));
    const [count, unit] =
      seconds < 120 ? [seconds, "second"] : seconds < 7200 ? [Math.floor(seconds / 60), "minute"] : [Math.floor(seconds / 3600), "hour"];
    return new Intl.RelativeTimeFormat(root.lang).format(-count, unit);
  };

  const tell = (reason) => {
    // An orderly end stays the reason while nobody answers afterwards.
    if (reason === "silent" && why === "ended") return;
    why = reason;
    root.classList.add("is-lost");
    for (const text of lost.children) text.hidden = text.dataset.when !== reason;
    lost.hidden = false;
    since.hidden = false;
    byId("since-clock").textContent = clock;
    document.title = since.dataset.title + " · leadbridge";
    grow();
  };

  const grow = () => {
    if (why !== null) byId("since-age").textContent = age(Date.now() - heard);
  };

  const take = (event) => {
    const update = JSON.parse(event.data);
    if (update.version !== root.dataset.version) {
      location.reload();
      return;
    }
    for (const [id, html] of update.parts) byId(id).innerHTML = html;
    heard = Date.now();
    clock = update.at;
    title = update.title;
    pause = 1000;
    why = null;
    root.classList.remove("is-lost");
    lost.hidden = true;
    since.hidden = true;
    document.title = title;
  };

  const leave = () => {
    if (source !== null) source.close();
    source = null;
    clearTimeout(next);
  };

  const again = () => {
    leave();
    next = setTimeout(connect, pause);
    pause = Math.min(pause * 2, LONGEST);
  };

  // A daemon that answers and sends no events is told from one that does not answer.
  const ask = async () => {
    const answer = await fetch("healthz", { cache: "no-store", signal: AbortSignal.timeout(5000) }).catch(() => null);
    if (source !== null && source.readyState === EventSource.OPEN) return;
    tell(answer !== null && answer.ok ? "refused" : "silent");
  };

  const connect = () => {
    leave();
    const events = new EventSource("events" + location.search);
    source = events;
    events.addEventListener("update", take);
    events.addEventListener("end", (event) => {
      take(event);
      tell("ended");
    });
    events.addEventListener("error", () => {
      if (source !== events) return;
      again();
      ask();
    });
  };

  setInterval(() => {
    if (why === null && source !== null && Date.now() - heard > SILENCE) {
      tell("silent");
      again();
    }
    grow();
  }, 1000);

  document.addEventListener("visibilitychange", () => {
    clearTimeout(hiding);
    if (document.hidden) {
      hiding = setTimeout(() => {
        leave();
        document.title = "leadbridge"; // a title that nobody renews must claim no state
      }, HIDDEN);
    } else if (source === null) {
      pause = 1000;
      connect();
    }
  });
  // A page that the browser keeps for the way back must not keep its connection.
  addEventListener("pagehide", leave);
  addEventListener("pageshow", (event) => {
    if (event.persisted) connect();
  });
  connect();
})();
