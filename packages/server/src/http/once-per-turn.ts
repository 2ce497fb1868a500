/** Calls back once at the end of a turn of the event loop, however often it was asked to in it. */
export function oncePerTurn(act: () => void): () => void {
  let isScheduled = false;
  return () => {
    if (isScheduled) return;
    isScheduled = true;
    setImmediate(() => {
      isScheduled = false;
      act();
    });
  };
}
