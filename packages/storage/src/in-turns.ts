import { nextTurn } from "#platform";

/** Pages of what is read without waiting, with a turn of the event loop between any two: others do not wait for all. */
export async function* inTurns<Page>(pages: Iterable<Page>): AsyncGenerator<Page> {
  let isFirst = true;
  for (const page of pages) {
    if (!isFirst) await nextTurn();
    isFirst = false;
    yield page;
  }
}
