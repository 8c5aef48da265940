// The way back: after a form was refused, and sent again, the pages before it can be gone back to and reloaded.
import { browser, button, check, look, open, signIn } from "../browser.mjs";
import { EMAIL } from "../server.mjs";

export default async function history(server) {
  const context = await browser.newContext();
  const page = await open(server, context);
  page.expected.add(409).add(422);
  let posts = 0;
  page.on("request", (request) => { if (request.isNavigationRequest() && request.method() === "POST") posts += 1; });
  const title = (name) => page.getByRole("heading", { level: 1, name });

  // Signing in.
  await page.goto(`${server.url}/console/sign-in?to=/console/people`);
  await signIn(page, EMAIL, "not this one at all");
  await page.getByRole("alert").first().waitFor();
  check("a refused sign-in leaves the address of the page", page.url().endsWith("/console/sign-in?to=/console/people"), page.url());
  await signIn(page);
  await title("People").waitFor();
  await page.goBack();
  await title("People").waitFor();
  check("going back to a refused sign-in sends no form again", posts === 2, `${posts} forms were sent`);

  // A form in a dialog, refused twice and then right.
  await page.goto(`${server.url}/console/people`);
  await button(page, "Create account").click();
  posts = 0;
  for (const [email, refused] of [["ada@example.com", true], ["ada@example.com", true], ["vera@example.com", false]]) {
    const dialog = page.getByRole("dialog");
    await dialog.getByRole("textbox", { name: "Name" }).fill("Vera");
    await dialog.getByRole("textbox", { name: "Email" }).fill(email);
    await button(dialog, "Create account").click();
    if (refused) await page.getByRole("alert").first().waitFor();
    await page.waitForLoadState();
  }
  await page.getByText("Send this link to Vera.").waitFor();
  check("each form was sent once", posts === 3, String(posts));
  for (const step of [1, 2]) {
    await page.goBack();
    await title("People").waitFor();
    check(`going back ${step} times after a refused form shows the page`, (await page.getByRole("rowheader", { name: "Vera" }).count()) === 1 && (await page.getByRole("dialog").count()) === 0);
  }
  await page.reload();
  await title("People").waitFor();
  check("neither going back nor a reload sends a form again", posts === 3 && (await server.api("GET", "/users?q=vera")).items.length === 1, String(posts));
  await look(page, "history-back");

  // A form whose address is no page.
  const { id } = (await server.api("GET", "/users?q=vera")).items[0];
  await page.goto(`${server.url}/console/people/${id}/grants`);
  await title("Vera").waitFor();
  check("the address of a form leads to its page", page.url() === `${server.url}/console/people/${id}`, page.url());
  await context.close();
}
