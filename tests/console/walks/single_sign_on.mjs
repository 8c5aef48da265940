// Single sign-on with two real providers, oidc-provider: an account just in time, a role that a group gives and takes, other keys, a session that is confirmed at the provider, an address that both providers know, signing out there, being signed out by it, and a provider that is down.
import { generateKeyPairSync } from "node:crypto";
import { createServer } from "node:http";
import { browser, button, check, look, signIn } from "../browser.mjs";
import { until } from "../server.mjs";

export const options = { settings: { CROSSFADE_OUTBOUND_PRIVATE_NETWORKS: "127.0.0.0/8" } };

const isElsewhere = (url) => !["127.0.0.1", "localhost"].includes(url.hostname);

const SECRET = "canary-secret-of-the-client";

/** A provider on a port of its own, whose cookies are those of its host. People type any name at it; `groups` has those of each. */
async function provider(host) {
  const { default: Provider } = await import(new URL("../../clients/node_modules/oidc-provider/lib/index.js", import.meta.url));
  const groups = new Map();
  let server, port, clients = [];
  const serve = async () => {
    server = createServer();
    await new Promise((resolve) => server.listen(port ?? 0, "127.0.0.1", resolve));
    port = server.address().port;
    const jwk = generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey.export({ format: "jwk" });
    const account = (id) => ({ sub: id, email: `${id}@example.com`, email_verified: true, name: `Person ${id}`, groups: groups.get(id) ?? [] });
    const oidc = new Provider(`http://${host}:${port}`, {
      clients,
      jwks: { keys: [{ ...jwk, use: "sig", alg: "RS256", kid: `key-${Date.now()}` }] },
      scopes: ["openid", "email", "profile", "groups"],
      claims: { openid: ["sub"], email: ["email", "email_verified"], profile: ["name"], groups: ["groups"] },
      features: { backchannelLogout: { enabled: true } },
      cookies: { keys: ["of the checks"] },
      // It sends logout tokens to no address of this machine otherwise.
      fetch: (url, { dispatcher, ...request }) => fetch(url, request),
      findAccount: (_, id) => ({ accountId: id, claims: async () => account(id) }),
    });
    oidc.on("backchannel.error", (_, error) => console.log(`back-channel logout: ${error.message}`));
    oidc.on("server_error", (_, error) => console.log(`oidc-provider: ${error.stack}`));
    server.on("request", oidc.callback());
  };
  const close = () => new Promise((resolve) => { server.close(resolve); server.closeAllConnections(); });
  await serve();
  return {
    groups,
    issuer: `http://${host}:${port}`,
    register: async (all) => { clients = all; await close(); await serve(); },
    /** Starts again with other keys. What it knew of people who are signed in stays in memory. */
    roll: async () => { await close(); await serve(); },
    close,
  };
}

/** Types a name at the provider, and consents where it asks. */
async function authenticate(page, server, name) {
  await page.locator("input[name=login]").fill(name);
  await page.locator("input[name=password]").fill("any");
  await page.locator("button[type=submit]").click();
  await until(async () => {
    if (page.url().startsWith(`${server.url}/console`)) return true;
    const consent = page.locator("input[name=prompt][value=consent]");
    if (await consent.count().catch(() => 0)) await page.locator("button[type=submit]").click().catch(() => {});
    return false;
  }, "the provider sends the person back");
  await page.waitForLoadState();
}

export default async function singleSignOn(server) {
  const [idp, other] = [await provider("127.0.0.1"), await provider("localhost")];
  try {
    await walk(server, idp, other);
  } finally {
    for (const one of [idp, other]) await one.close().catch(() => {});
  }
}

/** Registers the server at a provider, and the provider at the server. */
async function join(server, idp, name, group_grants) {
  const created = await server.api("POST", "/providers", {
    name, issuer: idp.issuer, client_id: "crossfade", client_secret: SECRET, domains: ["example.com"],
    scopes: ["openid", "email", "profile", "groups"], group_grants,
  });
  await idp.register([{
    client_id: "crossfade", client_secret: SECRET, redirect_uris: [created.redirect_uri],
    post_logout_redirect_uris: [created.post_logout_redirect_uri], backchannel_logout_uri: created.back_channel_logout_uri,
    backchannel_logout_session_required: true, scope: "openid email profile groups",
  }]);
  return created;
}

/** Two providers know a person by the same address: neither signs in as the other until the person has linked both. */
async function twoProviders(server, page, other, grace) {
  await join(server, other, "Other", [{ group: "security", role: "auditor" }]);
  other.groups.set("grace", ["security"]);
  const context = await browser.newContext();
  await context.route(isElsewhere, (route) => route.abort());
  const stranger = await context.newPage();
  await stranger.goto(`${server.url}/console/sign-in`);
  await look(stranger, "sign-in-with-two-providers");
  await stranger.getByRole("link", { name: "Sign in with Other" }).click();
  await authenticate(stranger, server, "grace");
  await stranger.getByText("already has your email address").waitFor();
  check("another provider with the same address is not let in", (await grace()).identities.length === 1);
  await look(stranger, "address-of-another-provider");

  await page.goto(`${server.url}/console/account`);
  await button(page, "Link Other").click();
  await page.getByRole("link", { name: "Continue to Other" }).click();
  await authenticate(page, server, "grace");
  await page.getByRole("row", { name: /^Other/ }).waitFor();
  await look(page, "account-with-two-providers");
  check("a person links a second provider", (await grace()).identities.length === 2);
  check("linking gives no role", (await grace()).grants.map((it) => it.role).join() === "viewer");

  await stranger.goto(`${server.url}/console/sign-in`);
  // The provider still knows the browser.
  await stranger.getByRole("link", { name: "Sign in with Other" }).click();
  await stranger.getByRole("heading", { level: 1, name: "Overview" }).waitFor();
  const roles = async () => (await grace()).grants.map((it) => `${it.role} by ${it.group}`).sort().join();
  check("each provider gives the roles of its own groups", await roles() === "auditor by security,viewer by engineers", await roles());
  other.groups.set("grace", []);
  await context.clearCookies();
  await stranger.goto(`${server.url}/console/sign-in`);
  await stranger.getByRole("link", { name: "Sign in with Other" }).click();
  await authenticate(stranger, server, "grace");
  check("a provider takes only what it gave", await roles() === "viewer by engineers", await roles());
  await context.close();
}

async function walk(server, idp, second) {
  const created = await join(server, idp, "Example", [{ group: "engineers", role: "viewer" }]);
  idp.groups.set("grace", ["engineers"]);
  const context = await browser.newContext();
  // The pages of the provider load a font from elsewhere.
  await context.route(isElsewhere, (route) => route.abort());
  const page = await context.newPage();
  page.on("pageerror", (error) => check("no uncaught error", false, error.message));
  const toProvider = async (on = page) => {
    await on.getByRole("link", { name: "Sign in with Example" }).click();
  };
  const grace = async () => (await server.api("GET", "/users?q=grace")).items[0];

  await page.goto(`${server.url}/console/clients`);
  await look(page, "sign-in-with-provider");
  await toProvider();
  await authenticate(page, server, "grace");
  check("a first sign-in creates the account and leads to the page", new URL(page.url()).pathname === "/console/clients", page.url());
  check("a group gives its role", (await grace()).grants.map((it) => `${it.role} by ${it.group}`).join() === "viewer by engineers", JSON.stringify(await grace()));
  check("the account is that of the subject", (await grace()).identities[0].subject === "grace");

  await page.goto(`${server.url}/console/account`);
  await page.getByRole("heading", { name: "Single sign-on" }).waitFor();
  await look(page, "account-with-provider");

  // The group is taken away, and the person signs out here and there.
  idp.groups.set("grace", []);
  await button(page, "Account: Person grace grace@example.com").click();
  await page.getByRole("button", { name: "Sign out", exact: true }).last().click();
  await page.getByText("You are signed out.").waitFor();
  await look(page, "signed-out-of-provider");
  await page.getByRole("link", { name: "Sign out of Example" }).click();
  await page.locator("button[name=logout][value=yes], button[value=yes]").first().click();
  await page.waitForURL(`${server.url}/console/sign-in**`);
  check("signing out at the provider leads back", true);
  await toProvider();
  await authenticate(page, server, "grace");
  check("a role is taken away with its group", (await grace()).grants.length === 0, JSON.stringify(await grace()));
  idp.groups.set("grace", ["engineers"]);

  // The provider gets other keys; an open browser and a new one go on.
  await idp.roll();
  const newBrowser = await browser.newContext();
  await newBrowser.route(isElsewhere, (route) => route.abort());
  const other = await newBrowser.newPage();
  await other.goto(`${server.url}/console/clients`);
  await toProvider(other);
  await authenticate(other, server, "grace");
  check("a sign-in with a new key of the provider works", new URL(other.url()).pathname === "/console/clients", other.url());
  check("a role comes back with its group", (await grace()).grants.length === 1);
  await page.reload();
  check("an open session goes on", !page.url().includes("/sign-in"), page.url());

  // Confirm it is you.
  server.age();
  await page.goto(`${server.url}/console/account`);
  await button(page, "Create token").first().click();
  let dialog = page.getByRole("dialog", { name: "Create token" });
  await dialog.getByLabel("Name", { exact: true }).fill("laptop");
  await button(dialog, "Create token").click();
  const confirm = page.getByRole("dialog", { name: "Confirm it is you" });
  await confirm.waitFor();
  check("the dialog of such a session has no password", await confirm.getByLabel("Password").count() === 0);
  await look(page, "dialog-confirm-with-provider");
  await confirm.getByRole("link", { name: "Continue with Example" }).click();
  await page.locator("input[name=login]").waitFor();
  check("the provider asks again, although it knows the person", new URL(page.url()).origin === idp.issuer, page.url());
  await authenticate(page, server, "grace");
  check("a confirmed person is back on the page", new URL(page.url()).pathname === "/console/account", page.url());
  await page.getByText("You have confirmed that it is you. Nothing was changed yet: do it again.").waitFor();
  await button(page, "Create token").first().click();
  dialog = page.getByRole("dialog", { name: "Create token" });
  await dialog.getByLabel("Name", { exact: true }).fill("laptop");
  await button(dialog, "Create token").click();
  await page.getByText("The token laptop was created.").waitFor();
  check("a session confirmed at the provider may do what is dangerous", true);

  await twoProviders(server, page, second, grace);

  // The provider ends the session while a tab is open.
  const tab = await context.newPage();
  await tab.goto(`${server.url}/console/clients`);
  await page.goto(`${server.url}/console/sign-in/out/${created.id}`);
  await page.locator("button[name=logout][value=yes], button[value=yes]").first().click();
  // The page for signing in leads on while the logout token is on its way.
  await page.waitForURL(`${server.url}/console**`);
  await until(async () => { await tab.goto(`${server.url}/console/account`); return tab.url().includes("/console/sign-in"); }, "the open tab is signed out");
  check("back-channel logout signs an open tab out", true);

  // The provider is down.
  await idp.close();
  await tab.goto(`${server.url}/console/sign-in`);
  await toProvider(tab);
  await tab.getByText("Example cannot be reached.").or(tab.getByText("ERR_CONNECTION_REFUSED")).first().waitFor();
  await tab.goto(`${server.url}/console/sign-in`);
  await signIn(tab);
  await tab.waitForURL(`${server.url}/console`);
  check("a password works while the provider is down", true);

  // The pages of an Owner.
  await tab.goto(`${server.url}/console/people`);
  await tab.getByRole("link", { name: "Single sign-on", exact: true }).click();
  await tab.getByRole("heading", { name: "Single sign-on", level: 1 }).waitFor();
  await look(tab, "providers");
  await button(tab, "Add provider").click();
  await tab.getByRole("dialog", { name: "Add provider" }).waitFor();
  await look(tab, "dialog-provider");
  await tab.getByRole("dialog", { name: "Add provider" }).getByRole("button", { name: "Cancel" }).click();
  await tab.getByRole("link", { name: "Example", exact: true }).click();
  await tab.getByRole("heading", { name: "Example", level: 1 }).waitFor();
  await look(tab, "provider");
  await button(tab, "Add role by group").click();
  const group = tab.getByRole("dialog", { name: "Add role by group" });
  await group.waitFor();
  await look(tab, "dialog-provider-group");
  await group.getByLabel("Group", { exact: true }).fill("auditors");
  await group.getByLabel("Role", { exact: true }).selectOption("auditor");
  await button(group, "Add role").click();
  await tab.getByText("The group gives the role: now if the provider provisions it").waitFor();
  check("a role by group is added on the page", await tab.getByRole("row", { name: /auditors/ }).count() === 1);
  await tab.goto(`${server.url}/console/people/${(await grace()).id}`);
  check("the page of the account says which group gives the role", await tab.getByText("by the group engineers of Example").count() === 1);
  await look(tab, "person-with-provider");

  const trail = JSON.stringify((await server.api("GET", "/audit-events?limit=200")).items);
  for (const [name, text] of [["the log", server.log()], ["the trail", trail], ["a page", await tab.content()]]) {
    check(`no secret of the provider in ${name}`, !text.includes(SECRET) && !/eyJ[A-Za-z0-9_-]{20}/.test(text));
  }
}
