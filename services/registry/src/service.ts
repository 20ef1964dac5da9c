import { systemEntropy } from "@godwit/common/clock";
import { defineService, type ServiceDefinition } from "@godwit/service";
import { REGISTRY_CRASH_POINTS, type RegistryCrashPoint } from "./authority/crash-points.ts";
import { compose, createStore, keyFileOf } from "./compose.ts";
import { REGISTRY_PORTS, type RegistryOptions, registryOptions, registryRelations } from "./config.ts";
import { initialize } from "./mark/initialize.ts";

export const registryDefinition: ServiceDefinition<RegistryOptions, RegistryCrashPoint> = defineService({
  name: "registry",
  summary: "Says which host owns which agent, keeps hosts' sessions and their directory.",
  ports: REGISTRY_PORTS,
  options: registryOptions,
  relations: registryRelations,
  crashPoints: REGISTRY_CRASH_POINTS,
  compose,
  commands: {
    init: {
      summary: "makes the signing key and the store's first mark, and refuses when there are some.",
      run: async ({ options, clock, logger, print }) => {
        const store = createStore(options, { clock, entropy: systemEntropy, logger });
        await store.start();
        try {
          const { incarnation, publicKey } = await initialize({ store, entropy: systemEntropy }, keyFileOf(options));
          print(`key ${keyFileOf(options)}`);
          print(`public key ${Buffer.from(publicKey).toString("hex")}`);
          print(`store ${store.where}, incarnation ${incarnation}`);
        } finally {
          await store.stop();
        }
      },
    },
  },
});
