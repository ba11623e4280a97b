// test peers · what of Gateway API's features for meshes Orlop says it honours (docs/routes.md), and why the others are not here.

/** The profile's core is Mesh and HTTPRoute; these are the names of the features beyond it (sigs.k8s.io/gateway-api:pkg/features). */
export const profile = "MESH-HTTP";
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
export const skipped: Readonly<Record<string, string>> = {
  MeshGRPCRouteWeight: "GRPCRoute is honoured (docs/routes.md); the suite's test of it is not run yet",
};

/** The tests that pass, all of them: another of a new version of the suite has to be looked at. */
export const passing = [
  "MeshBasic",
  "MeshConsumerRoute",
  "MeshFrontend",
  "MeshFrontendHostname",
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
