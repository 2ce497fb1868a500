export { type LevelOptions, levelStorage } from "@coppice/storage/level";
