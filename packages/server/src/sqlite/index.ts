export { sqliteStorage } from "@coppice/storage/sqlite";
