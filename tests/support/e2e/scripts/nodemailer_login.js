// nodemailer_login.js SETTINGS SENDER RECIPIENT: for each object in SETTINGS, an array in JSON of what
// createTransport takes, logs in and sends a message; prints a line each, "ok" or the code of the reply and of
// the error.
const nodemailer = require('nodemailer');

const [settings, from, to] = process.argv.slice(2);

async function main() {
    for (const one of JSON.parse(settings)) {
        const transport = nodemailer.createTransport(one);
        try {
            await transport.sendMail({ from, to, subject: `by ${one.authMethod}`, text: 'Hello\n' });
            console.log('ok');
        } catch (error) {
            console.log(`${error.responseCode} ${error.code}`);
        }
        transport.close();
    }
}

main();
