import { resolve } from "node:path";
import { argument, option } from "@godwit/common/config";
import { defineCommand } from "../command.ts";
import { languages, newProject } from "../operations/new-project.ts";

export const newCommand = defineCommand({
  name: "new",
  summary: "Makes a project for an agent, which builds and whose tests pass.",
  details:
    "With a copy of the SDK in it, so that it can be moved anywhere. The compiler is linked to the one of this repository; " +
    "in another place npm install fetches it.",
  options: {
    language: option.choice(languages, { fallback: "assemblyscript", help: "What the agent is written in." }),
    directory: option.text({ optional: true, help: "Where the project comes; by default a new directory NAME, here." }),
  },
  arguments: { name: argument.required("The agent's name, like ticker.") },
  run: async ({ options: { language, directory }, arguments: { name }, output, surroundings }) => {
    const target = resolve(surroundings.workingDirectory, directory ?? name);
    const project = newProject({ name, language, directory: target });
    const agent = project.files.find((file) => file.endsWith(`${name}.ts`));
    output.result(project, () => [
      `${name} is in ${project.directory}; the agent is ${agent}`,
      "to build and test it:",
      `  cd ${directory ?? name}`,
      "  npm run build",
      "  npm test",
    ]);
    return undefined;
  },
});
