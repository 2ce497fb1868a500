export {
  openStorage,
  parseStorageTarget,
  registerStorageScheme,
  resolveStorage,
  type StorageFactory,
  storageSchemes,
  type StorageTarget,
} from "@coppice/storage/registry";
