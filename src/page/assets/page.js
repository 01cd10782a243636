// Puts the parts that the daemon sends into the page, says since when nothing has come, and shows the charts' values.
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
  let tried = 0; // the start of the latest try, which may be under way
  let isAway = false; // whether the connection was given back
  let clock = byId("clock").textContent;
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

  // The column under the pointer or the keyboard: its value in each chart, because all charts show the same time.
  const charts = [...document.querySelectorAll(".charts figure")];
  const count = charts[0].querySelector("svg").viewBox.baseVal.width;
  let pointed = null; // the column's place, from 0 for the oldest
  const point = (place) => {
    pointed = place === null ? null : Math.min(Math.max(place, 0), count - 1);
    for (const chart of charts) {
      const { values, end, column, unknown } = chart.querySelector("svg").dataset;
      const mark = chart.querySelector(".mark");
      mark.setAttribute("width", pointed === null ? 0 : 1);
      mark.setAttribute("x", pointed ?? 0);
      const at = new Date(end - (count - 1 - pointed) * column).toISOString().slice(11, column < 60000 ? 19 : 16);
      const said = pointed === null ? "" : `${at} UTC: ${values.split("|")[pointed] || unknown}`;
      chart.querySelector(".pointed").textContent = said;
    }
  };
  for (const chart of charts) {
    const follow = (event) => {
      const box = chart.querySelector("svg").getBoundingClientRect();
      if (event.clientY >= box.top && event.clientY <= box.bottom) {
        point(Math.floor(((event.clientX - box.left) / box.width) * count));
      }
    };
    chart.tabIndex = 0;
    chart.addEventListener("pointerdown", follow);
    chart.addEventListener("pointermove", follow);
    // A finger that is lifted leaves the value that it asked for.
    chart.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && point(null));
    chart.addEventListener("focus", () => point(pointed ?? count - 1));
    chart.addEventListener("blur", (event) => charts.includes(event.relatedTarget) || point(null));
    chart.addEventListener("keydown", (event) => {
      const places = { ArrowLeft: (pointed ?? count) - 1, ArrowRight: (pointed ?? count) + 1, Home: 0, End: count - 1, Escape: null };
      if (event.altKey || event.ctrlKey || event.metaKey || !(event.key in places)) return;
      event.preventDefault();
      point(places[event.key]);
    });
  }

  const take = (event) => {
    const update = JSON.parse(event.data);
    if (update.version !== root.dataset.version) {
      location.reload();
      return;
    }
    for (const [id, html] of update.parts) byId(id).innerHTML = html;
    heard = Date.now();
    clock = update.at;
    pause = 1000;
    why = null;
    root.classList.remove("is-lost");
    lost.hidden = true;
    since.hidden = true;
    document.title = update.title;
    if (pointed !== null) point(pointed);
  };

  const leave = () => {
    if (source !== null) source.close();
    source = null;
    clearTimeout(next);
  };

  const giveBack = () => {
    isAway = true;
    leave();
    document.title = "leadbridge"; // a title that nobody renews must claim no state
  };

  const again = () => {
    leave();
    next = setTimeout(connect, pause);
    pause = Math.min(pause * 2, LONGEST);
  };

  // A daemon that answers and sends no events is told from one that does not answer.
  const ask = async () => {
    const answer = await fetch("healthz", { cache: "no-store", signal: AbortSignal.timeout(5000) }).catch(() => null);
    // Meanwhile a later try may have succeeded, or nobody may want to know any more.
    if (isAway || (source !== null && source.readyState === EventSource.OPEN)) return;
    tell(answer !== null && answer.ok ? "refused" : "silent");
  };

  const connect = () => {
    leave();
    isAway = false;
    tried = Date.now();
    // The choice that the page was made with: another tab may have changed the cookie since.
    const events = new EventSource("events" + root.dataset.query);
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
    // A try that hangs is as silent as a stream, and a try that has just begun is not.
    if (source !== null && Date.now() - Math.max(heard, tried) > SILENCE) {
      tell("silent");
      again();
    }
    grow();
  }, 1000);

  // A page may be hidden from its beginning on, as in a tab that is opened in the background.
  const seen = () => {
    clearTimeout(hiding);
    if (document.hidden) {
      hiding = setTimeout(giveBack, HIDDEN);
    } else if (isAway) {
      pause = 1000;
      connect();
    }
  };
  document.addEventListener("visibilitychange", seen);
  // A page that the browser keeps for the way back must not keep its connection.
  addEventListener("pagehide", giveBack);
  addEventListener("pageshow", (event) => {
    if (event.persisted) seen();
  });
  connect();
  seen();
})();
