// main thread · connections that were refused, since as many as a DestinationRule allows were open: out of the cells that the data threads share.
import { type Metric, single } from "../observe/metric.ts";

export const overflowFamilies = {
  connections: {
    name: "orlop_connection_overflow_total",
    type: "counter",
    unit: "connections",
    labels: [],
    help: "Connections that were refused, and requests that found no connection in time or no room to wait, since as many as a DestinationRule allows were open",
  },
} as const;

export function overflowMetrics(refused: number): readonly Metric[] {
  return [single(overflowFamilies.connections, refused)];
}
