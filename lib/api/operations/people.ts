/** Operations: people and API tokens. */
import * as z from 'zod'
import { RoleId, TokenId, UserId } from '../../schema/ids.ts'
import { ApiToken, TokenScope } from '../../schema/token.ts'
import { ExternalLogin, Password, Person, Role, User, UserName } from '../../schema/user.ts'
import { Items, type Operation, op } from '../operation.ts'

export const peopleOperations = {
  tokenList: op({
    method: 'GET',
    path: '/tokens',
    summary: 'Own API tokens',
    privilege: 'account',
    response: Items(ApiToken),
  }),
  tokenCreate: op({
    method: 'POST',
    path: '/tokens',
    summary: 'Create an API token; the secret is shown once. A token cannot create tokens.',
    privilege: 'account',
    body: z.strictObject({
      label: z.string().trim().min(1).max(64),
      expiresInDays: z.int().min(1).max(3650).optional(),
      /** Left out: whatever its owner may. */
      scope: TokenScope.optional(),
    }),
    response: z.strictObject({ token: z.string(), entry: ApiToken }),
    status: 201,
    errors: ['confirm_needed'],
  }),
  tokenDelete: op({
    method: 'DELETE',
    path: '/tokens/:id',
    summary: 'Revoke an own API token',
    privilege: 'account',
    params: z.strictObject({ id: TokenId }),
    status: 204,
  }),
  userList: op({ method: 'GET', path: '/users', summary: 'People', privilege: 'user.manage', response: Items(Person) }),
  userCreate: op({
    method: 'POST',
    path: '/users',
    summary: 'Add a person',
    privilege: 'user.manage',
    body: z
      .strictObject({
        name: UserName,
        password: Password.optional(),
        role: Role,
        /** Takes the place of what `role` gives. */
        customRole: RoleId.nullable().optional(),
        login: ExternalLogin.optional(),
      })
      .refine((body) => body.password !== undefined || body.login !== undefined, {
        path: ['password'],
        error: 'a password, or an account elsewhere to sign in with',
      }),
    response: User,
    status: 201,
    errors: ['name_taken', 'conflict'],
  }),
  userUpdate: op({
    method: 'PATCH',
    path: '/users/:id',
    summary: 'Change role, password or access of a person; ends their sessions',
    privilege: 'user.manage',
    params: z.strictObject({ id: UserId }),
    body: z.strictObject({
      role: Role.optional(),
      customRole: RoleId.nullable().optional(),
      password: Password.optional(),
      disabled: z.boolean().optional(),
    }),
    response: User,
    errors: ['last_admin'],
  }),
  userDelete: op({
    method: 'DELETE',
    path: '/users/:id',
    summary: 'Remove a person who owns no VM',
    privilege: 'user.manage',
    params: z.strictObject({ id: UserId }),
    status: 204,
    errors: ['last_admin', 'in_use'],
  }),
  userLogins: op({
    method: 'POST',
    path: '/users/:id/logins',
    summary: 'Say which accounts elsewhere sign in as this person',
    privilege: 'user.manage',
    params: z.strictObject({ id: UserId }),
    body: z.strictObject({ logins: z.array(ExternalLogin).max(10) }),
    response: User,
    errors: ['last_admin', 'conflict'],
  }),
  userSignOut: op({
    method: 'POST',
    path: '/users/:id/sign-out',
    summary: "End a person's sessions; API tokens stay",
    privilege: 'user.manage',
    params: z.strictObject({ id: UserId }),
    status: 204,
  }),
  userFactorsReset: op({
    method: 'DELETE',
    path: '/users/:id/second-factor',
    summary: 'Take away the second factors of a person who lost them; ends their sessions',
    privilege: 'user.manage',
    params: z.strictObject({ id: UserId }),
    status: 204,
  }),
  userTokenList: op({
    method: 'GET',
    path: '/users/:id/tokens',
    summary: "A person's API tokens",
    privilege: 'user.manage',
    params: z.strictObject({ id: UserId }),
    response: Items(ApiToken),
  }),
  userTokenDelete: op({
    method: 'DELETE',
    path: '/users/:id/tokens/:token',
    summary: "Revoke somebody's API token",
    privilege: 'user.manage',
    params: z.strictObject({ id: UserId, token: TokenId }),
    status: 204,
  }),
} as const satisfies Record<string, Operation>
