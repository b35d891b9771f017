/**
 * Tells ml-connector at once that a customer, contact or opportunity was changed in NetSuite (docs/connecting.md,
 * NetSuite push). It says which record, and nothing of what is in it.
 *
 * After the record is saved, so it cannot stop a save; what goes wrong is logged and the next poll finds the change.
 * The request is a promise that nobody waits for. NetSuite itself gives a connection 5 seconds.
 *
 * @NApiVersion 2.1
 * @NScriptType UserEventScript
 * @NModuleScope SameAccount
 */
define(['N/https', 'N/log', 'N/runtime'], (https, log, runtime) => {
  // Script parameters; each flow of the account has a script record of its own.
  const URL = 'custscript_mlc_push_url'; // https://in.example.com/webhooks/netsuite/acme-eu
  const SECRET = 'custscript_mlc_push_secret'; // the id of the API secret: custsecret_mlc_push
  const PREFIX = 'custscript_mlc_push_prefix'; // the flow's external_ids: pd
  const USER = 'custscript_mlc_push_user'; // internal id of the employee that ml-connector logs in as

  const told = (context) => {
    const { newRecord, oldRecord, type } = context;
    const kept = newRecord || oldRecord;
    const externalId = [newRecord, oldRecord]
      .map((record) => record && record.getValue({ fieldId: 'externalid' }))
      .find(Boolean);
    // After an inline edit only the edited fields are there; so `id` is always said, too.
    return {
      recordType: String(kept.type),
      id: String(kept.id),
      externalId: externalId ? String(externalId) : null,
      event: String(type),
      lastModifiedDate: new Date().toISOString(),
    };
  };

  const isOurs = (parameter) =>
    runtime.executionContext === runtime.ContextType.REST_WEBSERVICES &&
    String(runtime.getCurrentUser().id) === String(parameter(USER));

  const afterSubmit = (context) => {
    try {
      const script = runtime.getCurrentScript();
      const parameter = (name) => script.getParameter({ name }) || '';
      if (isOurs(parameter)) return;
      const record = told(context);
      const prefix = `${parameter(PREFIX)}-`.toLowerCase();
      if (record.externalId && !record.externalId.toLowerCase().startsWith(prefix)) return;
      https.post
        .promise({
          url: parameter(URL),
          headers: {
            'Content-Type': 'application/json',
            'X-NetSuite-Shared-Secret': https.createSecureString({ input: `{${parameter(SECRET)}}` }),
          },
          body: JSON.stringify(record),
        })
        .then((answer) => {
          if (answer.code !== 204) log.error({ title: 'ml-connector', details: `answered ${answer.code}` });
        })
        .catch((error) => log.error({ title: 'ml-connector', details: error.name }));
    } catch (error) {
      log.error({ title: 'ml-connector', details: error.name });
    }
  };

  return { afterSubmit };
});
