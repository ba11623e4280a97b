// test peers · what of Gateway API's features for meshes Orlop says it honours (docs/routes.md), and why the others are not here.

/** Their core is Mesh, HTTPRoute and GRPCRoute. */
export const profiles = ["MESH-HTTP", "MESH-GRPC"];
/** Definitions of Gateway API that the cluster has, by their plurals. */
export const definitions = ["httproutes", "grpcroutes"];

/** The names of the features beyond the profiles' core (sigs.k8s.io/gateway-api:pkg/features). */
export const honoured = [
  "MeshClusterIPMatching",
  "MeshConsumerRoute",
  "MeshHTTPRouteBackendRequestHeaderModification",
  "MeshHTTPRouteNamedRouteRule",
  "MeshHTTPRouteQueryParamMatching",
  "MeshHTTPRouteRedirectPath",
  "MeshHTTPRouteRedirectPort",
  "MeshHTTPRouteRewritePath",
  "MeshHTTPRouteSchemeRedirect",
  // Some tests of meshes ask for these features of routes, too.
  "HTTPRouteParentRefPort",
  "HTTPRouteResponseHeaderModification",
  "HTTPRoute303RedirectStatusCode",
  "HTTPRoute307RedirectStatusCode",
  "HTTPRoute308RedirectStatusCode",
];

/** Tests that the suite does not run, since they are of features that are not honoured, with the reason. */
export const skipped: Readonly<Record<string, string>> = {};

/** The tests that pass, all of them: another of a new version of the suite has to be looked at. */
export const passing = [
  "MeshBasic",
  "MeshConsumerRoute",
  "MeshFrontend",
  "MeshFrontendHostname",
  "MeshGRPCRouteWeight",
  "MeshHTTPRoute303Redirect",
  "MeshHTTPRoute307Redirect",
  "MeshHTTPRoute308Redirect",
  "MeshHTTPRouteBackendRequestHeaderModifier",
  "MeshHTTPRouteMatching",
  "MeshHTTPRouteNamedRule",
  "MeshHTTPRouteQueryParamMatching",
  "MeshHTTPRouteRedirectHostAndStatus",
  "MeshHTTPRouteRedirectPath",
  "MeshHTTPRouteRedirectPort",
  "MeshHTTPRouteRequestHeaderModifier",
  "MeshHTTPRouteRewritePath",
  "MeshHTTPRouteSchemeRedirect",
  "MeshHTTPRouteSimpleSameNamespace",
  "MeshHTTPRouteWeight",
  "MeshPorts",
  "MeshTrafficSplit",
];

/**
 * Of these each case, or a case of each, fails where nobody reads routes. Of most tests that cannot be said: the suite is content with three
 * good answers in a row, and of two backends each has every second connection.
 */
export const needsMesh = ["MeshConsumerRoute", "MeshFrontend", "MeshHTTPRoute303Redirect"];

/** What the status of a route of the suite says when not that all is well. */
export const statuses: Readonly<Record<string, string>> = {
  // Its third backend, of weight 0, is a Service that the suite does not make.
  "mesh-grpc-weighted-backends": "Accepted True Accepted, ResolvedRefs False BackendNotFound",
};
