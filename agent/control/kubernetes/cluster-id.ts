// main thread · which cluster answers: the UID of its namespace kube-system, which no other cluster has and which lives as long as it.
import type { Ask } from "./api-answer.ts";
import { expectJson, objectOf } from "./api-refusal.ts";
import { StrangeAnswer } from "./watch-event.ts";

const PATH = "/api/v1/namespaces/kube-system";
const IDLE_MS = 30_000;

/** @throws Refused, StrangeAnswer and what `ask` throws */
export async function clusterId(ask: Ask, signal: AbortSignal): Promise<string> {
  const answer = await ask(PATH, { signal, idleMs: IDLE_MS });
  await expectJson(answer, "the namespace kube-system");
  const { metadata } = await objectOf(answer, "Namespace");
  const uid = typeof metadata === "object" && metadata !== null && "uid" in metadata ? metadata.uid : undefined;
  if (typeof uid === "string" && uid !== "") return uid;
  throw new StrangeAnswer("the namespace kube-system has no uid");
}
