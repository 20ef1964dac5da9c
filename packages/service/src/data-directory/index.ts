export { type DataDirectory, lockDataDirectory } from "./data-directory.ts";
