/* Draws the page: first what run.js says, then the photos. */
"use strict";

drawTop();
drawFirst();
drawRun();
readDecisions();
requestAnimationFrame(() =>
  setTimeout(async () => {
    await loadScript("photos.js");
    await prepare();
    drawFailures();
    drawHeads();
    drawFilters();
    await refresh();
    await prepareReview();
    $("scroller").addEventListener("scroll", () => drawTable(), {passive: true});
    $("scroller").addEventListener("keydown", tableKeys);
    $("review-body").addEventListener("keydown", reviewKeys);
    new ResizeObserver(() => {
      if (view === "table") drawTable(true);
    }).observe($("scroller"));
    if (!photos.count && run.trainings) hidePhotos();
    await loadScript("history.js").then(drawHistory);
    if (run.trainings) await loadScript("training.js").then(drawTrainings);
    if (run.changes) await loadScript("changes.js").then(drawChanges);
    document.body.dataset.ready = "yes";
  }),
);
