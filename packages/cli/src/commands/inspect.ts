import { argument, option } from "@godwit/common/config";
import { defineCommand, REGISTRY_KEY } from "../command.ts";
import { EXIT } from "../exit-code.ts";
import { inspectFile, isSound } from "../operations/inspect.ts";
import { inspectionJson, inspectionText } from "../print/inspection.ts";

export const inspect = defineCommand({
  name: "inspect",
  summary: "Shows what is in a checkpoint, ours or one of the seed system, or what else a file is.",
  details:
    "No service is asked and no agent is needed. Exit code 1 when a signature does not hold or the module is another, 5 when the file cannot be read.",
  options: {
    wasm: option.text({ optional: true, help: "A module, a .wasm file: say whether the checkpoint is of it." }),
    registryKey: option.text({ optional: true, ...REGISTRY_KEY }),
  },
  arguments: { file: argument.required("A checkpoint, an export of godwit verify, or evidence.") },
  run: async ({ options: { wasm, registryKey }, arguments: { file }, output }) => {
    const inspection = inspectFile(file, { wasmPath: wasm, registryKey });
    output.result(inspectionJson(inspection), () => inspectionText(inspection, file));
    return isSound(inspection) ? EXIT.ok : EXIT.failed;
  },
});
