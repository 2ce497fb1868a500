export { type AutomergeMutator, type AutomergeView, automergeDoc } from "@coppice/crdt/automerge";
