// node_pop3_fetch.js SETTINGS: fetches and deletes all messages as the documentation of node-pop3 does; prints what
// went wrong, and "done" at the end: a process that ends without it had a promise that was never settled.
const crypto = require('crypto');
const fs = require('fs');
const path = require('path');
const Pop3Command = require('node-pop3');

const settings = JSON.parse(process.argv[2]);

async function main() {
    const pop3 = new Pop3Command({
        host: settings.host,
        port: settings.port,
        user: settings.address,
        password: settings.password,
        timeout: settings.timeout * 1000,
        ...(settings.tls ? { tls: true, tlsOptions: { ca: fs.readFileSync(settings.ca) } } : {}),
    });
    try {
        for (const [number] of await pop3.UIDL()) {
            const message = await pop3.RETR(number);
            fs.writeFileSync(path.join(settings.folder, crypto.randomUUID()), message);
            await pop3.DELE(number);
        }
        await pop3.QUIT();
    } catch (error) {
        console.log(`${error.eventName}: ${error.message}`);
        process.exitCode = 1;
    }
    console.log('done');
}

main().then(() => process.exit());
