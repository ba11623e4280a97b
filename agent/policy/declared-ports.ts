// any thread · the ports of a workload that Services lead to, and what they are said to speak. Pure.
import { type PortHint, portHint } from "../l7/port-hint.ts";
import { fullName } from "../mesh/full-name.ts";
import type { Service, ServicePort } from "../mesh/service.ts";
import type { Snapshot } from "../mesh/snapshot.ts";
import type { Workload } from "../mesh/workload.ts";

export type DeclaredPort = {
  /** Of the workload. */
  readonly port: number;
  readonly hint: PortHint;
  /** Who says so: `appProtocol grpc of Service shop/api`, or its port's name. */
  readonly by: string;
};

/** By port, and for each port by Service; a port may be declared several times, and differently. */
export function declaredPorts(mesh: Pick<Snapshot, "servicesOf">, workload: Workload): readonly DeclaredPort[] {
  const services = new Map(mesh.servicesOf(workload).map((service) => [fullName(service), service]));
  const declared = [...services.values()].flatMap((service) =>
    service.ports.flatMap((servicePort): readonly DeclaredPort[] => {
      const port = targetOf(service, servicePort, workload);
      return port === undefined
        ? []
        : [
            {
              port,
              hint: portHint(servicePort),
              by: wordsOf(service, servicePort),
            },
          ];
    }),
  );
  return declared.toSorted((a, b) => a.port - b.port || (a.by < b.by ? -1 : 1));
}

/** undefined: the workload has no port of the name that the Service gives. */
function targetOf(
  { endpoints }: Service,
  { name, port, targetPort }: ServicePort,
  { addresses, ports }: Workload,
): number | undefined {
  const fixed = endpoints.find(({ address }) => addresses.includes(address))?.ports;
  const own = fixed?.[name] ?? fixed?.[String(port)];
  if (own !== undefined) return own;
  return typeof targetPort === "number" ? targetPort : ports[targetPort];
}

function wordsOf(service: Service, { name, port, appProtocol }: ServicePort): string {
  const said = appProtocol === "" ? (name === "" ? `port ${port}` : `port name ${name}`) : `appProtocol ${appProtocol}`;
  return `${said} of Service ${fullName(service)}`;
}
