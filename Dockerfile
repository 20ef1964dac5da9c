# An image for each service: docker build --target registry|pricing|agent-host .
#
# No "# syntax=" line: the frontend that is built into the engine knows all that is used here, and an engine that
# reaches no image registry could not fetch another.

# --- what all of them are built from ------------------------------------------------------------

FROM node:24-bookworm-slim AS pnpm
WORKDIR /src
RUN npm install --global --no-audit --no-fund --loglevel=error pnpm@12.21.0

# What an install depends on and nothing else: a change of sources does not install again.
FROM pnpm AS manifests
RUN --mount=type=bind,target=/context \
    cd /context \
 && cp package.json pnpm-lock.yaml pnpm-workspace.yaml /src/ \
 && cp --parents */package.json */*/package.json /src/

FROM pnpm AS packages
COPY --from=manifests /src ./
RUN --mount=type=cache,id=godwit-pnpm-store,target=/pnpm-store \
    pnpm install --frozen-lockfile --store-dir=/pnpm-store --reporter=append-only
COPY tsconfig.base.json ./
COPY packages packages
# What services stand on. The command line and what only tests use are not needed here.
RUN pnpm exec tsc -b packages/service packages/grpc packages/lineage packages/migration packages/sandbox
COPY --chmod=755 tools/docker/deploy-service /usr/local/bin/

FROM packages AS registry-built
COPY services/registry services/registry
RUN --mount=type=cache,id=godwit-pnpm-store,target=/pnpm-store deploy-service registry

FROM packages AS pricing-built
COPY services/pricing services/pricing
RUN --mount=type=cache,id=godwit-pnpm-store,target=/pnpm-store deploy-service pricing

FROM packages AS agent-host-built
COPY services/agent-host services/agent-host
RUN --mount=type=cache,id=godwit-pnpm-store,target=/pnpm-store deploy-service agent-host

# --- what runs ----------------------------------------------------------------------------------

# A service writes to /data and nowhere else, so that the rest may be mounted read-only; /data is meant to be a volume.
FROM node:24-bookworm-slim AS runtime
ENV NODE_ENV=production GODWIT_DATA=/data SQLITE_TMPDIR=/data
WORKDIR /app
RUN install -d -o node -g node -m 700 /data
COPY tools/docker/probe.mjs /probe.mjs
USER node
# Liveness, not readiness: starting a service again does not bring back what it waits for. docker-compose.yml asks
# for /readyz instead, since there the question is when the next one can start.
HEALTHCHECK --interval=5s --timeout=3s --start-period=20s --retries=3 CMD ["node", "/probe.mjs", "/livez"]
CMD ["node", "dist/main.js"]

# A container's loopback cannot be reached from outside of it, so each image is told to listen everywhere; what is
# published, and where, is for whoever starts it to say.

FROM runtime AS registry
# The signing key may be in a volume that replicas share.
USER root
RUN install -d -o node -g node -m 700 /keys
USER node
ENV GODWIT_GRPC_LISTEN=0.0.0.0:7443 GODWIT_OPS_LISTEN=0.0.0.0:8443
EXPOSE 7443 8443
COPY --from=registry-built /app ./

FROM runtime AS pricing
ENV GODWIT_GRPC_LISTEN=0.0.0.0:7450 GODWIT_OPS_LISTEN=0.0.0.0:8450
EXPOSE 7450 8450
COPY --from=pricing-built /app ./

FROM runtime AS agent-host
ENV GODWIT_GRPC_LISTEN=0.0.0.0:7460 GODWIT_OPS_LISTEN=0.0.0.0:8460 GODWIT_P2P_LISTEN=/ip4/0.0.0.0/tcp/7470
EXPOSE 7460 7470 8460
COPY --from=agent-host-built /app ./
