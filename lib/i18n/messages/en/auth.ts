import { defineMessages } from '../../define.ts'

/** Sign-in and the first administrator. */
export const auth = defineMessages('auth', {
  login: {
    title: 'Sign in',
    name: 'Name',
    password: 'Password',
    submit: 'Sign in',
    ended: 'Your session has ended. Guests are not affected.',
    forgot: 'Forgotten? An administrator can set a new password, also on the host: guestdeck user add.',
  },
  setup: {
    title: 'Set up Guestdeck',
    intro: 'Create the first administrator. Nobody else can do this without the code.',
    code: 'Setup code',
    codeHint: 'The server printed it where it was started.',
    name: 'Your name',
    nameHint: 'Lower-case letters, digits, . _ and -',
    password: 'Password',
    passwordHint: 'At least 10 characters. Length is all that counts.',
    repeat: 'Password again',
    mismatch: 'The two passwords differ.',
    tooShort: 'At least 10 characters.',
    submit: 'Create administrator',
    done: 'This dashboard is already set up.',
    toLogin: 'Sign in',
  },
  show: 'Show password',
  hide: 'Hide password',
})
