export { type LmdbOptions, lmdbStorage } from "@coppice/storage/lmdb";
