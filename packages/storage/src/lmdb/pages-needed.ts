import type { Op } from "../backend.ts";

/** What of the engine's statistics tells how much a transaction can take. */
export interface LmdbSize {
  readonly pageSize: number;
  readonly lastPageNumber: number;
  readonly treeDepth: number;
  readonly treeBranchPageCount: number;
  readonly treeLeafPageCount: number;
}

/** Header of an overflow page, and what a node takes beside its key and value. */
const PAGE_HEADER_BYTES = 16;
const NODE_BYTES = 32;
/** Pages for the engine's own lists, whatever the transaction. */
const SPARE_PAGES = 64;

/**
 * An upper bound of the pages by which a transaction can make the file grow, when none of the free ones can be used.
 *
 * LMDB copies each page of the tree that it changes, at most once a transaction, and never writes in place. Values of
 * half a page and more have pages of their own. Pages that split are at least a third full. The list of free pages
 * holds 8 bytes for each page of the file, at most.
 */
export function pagesNeeded(ops: readonly Op[], size: LmdbSize): number {
  const { pageSize, lastPageNumber, treeDepth, treeBranchPageCount, treeLeafPageCount } = size;
  let changes = 0;
  let inlineBytes = 0;
  let ownPages = 0;
  for (const op of ops) {
    changes += op.op === "truncate" ? Math.max(0, op.upto - op.from) : 1;
    if (op.op !== "put" && op.op !== "append") continue;
    inlineBytes += NODE_BYTES + (op.op === "put" ? op.key.length : op.log.length);
    if (op.value.length < pageSize / 2) inlineBytes += op.value.length;
    if (op.value.length >= pageSize / 4) ownPages += Math.ceil((op.value.length + PAGE_HEADER_BYTES) / pageSize);
  }
  const copied = Math.min(2 * changes * (treeDepth + 1), treeBranchPageCount + treeLeafPageCount);
  const added = 3 * Math.ceil(inlineBytes / pageSize);
  const freeList = Math.ceil((lastPageNumber * 16) / pageSize);
  return copied + added + ownPages + freeList + SPARE_PAGES;
}
