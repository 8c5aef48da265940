// Node 18 has Web Crypto, but not yet as a global. Import this before the libraries that need it.
import { webcrypto } from 'node:crypto';

globalThis.crypto ??= webcrypto;
globalThis.CryptoKey ??= webcrypto.CryptoKey;
