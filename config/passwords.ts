/** What the examples of the world have in the place of a password; compared without capitals, blanks and punctuation. */
const PLACEHOLDERS: ReadonlySet<string> = new Set([
  ...["changeme", "changethis", "changemenow", "changeit", "replaceme", "todo", "fixme", "placeholder", "example"],
  ...["password", "passwort", "passw0rd", "password1", "password123", "mypassword", "yourpassword", "strongpassword"],
  ...["secret", "secretpassword", "mysecretpassword", "supersecret", "topsecret", "letmein", "qwertyui", "qwerty123"],
  ...["synapse", "synapsepassword", "synapseuser", "matrix", "postgres", "postgresql", "postgrespassword", "admin"],
  ...["administrator", "adminpassword", "dbpassword", "databasepassword", "somepassword", "testtest", "iloveyou"],
  ...["12345678", "123456789", "1234567890", "123456789012", "87654321", "hunter2"],
]);

/** What keeps a text from being a password, as the end of a sentence without the password in it. Pure. */
export function passwordProblem(password: string, minLength: number): string | undefined {
  if (/^\s|\s$/.test(password)) return "begins or ends with a blank or a line break (Windows line ends count)";
  if (/\p{Cc}/u.test(password)) return "must be one line without control characters";
  const plain = password.toLowerCase().replace(/[^a-z0-9]/g, "");
  const repeated = new Set(password).size === 1;
  if (PLACEHOLDERS.has(plain) || repeated) return "is a placeholder that everybody knows";
  if (password.length < minLength) return `must have at least ${minLength} characters`;
  return undefined;
}
