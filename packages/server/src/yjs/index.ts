export { type YjsMutator, type YjsShape, type YjsShared, type YjsValue, type YjsView, yjsDoc } from "@coppice/crdt/yjs";
