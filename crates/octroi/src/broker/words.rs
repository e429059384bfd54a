//! What operators are told of a broker, in both languages: what is wrong, and
//! what mends it.

use octroi_mqtt::{End, Lack, Version};
use octroi_policy::{Text, text};

use super::{Broker, Trouble};
use crate::status::BrokerState;

impl Broker {
    /// What is wrong, and whether it mends itself.
    pub(super) fn told(&self, trouble: &Trouble) -> (BrokerState, Text) {
        let (host, port) = (&self.config.host, self.config.port);
        match trouble {
            Trouble::UnknownSource => refused(text!(
                "the policy in force has no source of the identity `{identity}`: give a `[[source]]` this identity and activate",
                "la politique en vigueur n'a aucune source d'identité `{identity}` : donnez cette identité à une `[[source]]` et activez",
                identity = self.sender.identity,
            )),
            Trouble::Files(refusal) => {
                refused(Text::join(&[refusal.what.clone(), refusal.mend.clone()], "; ", " ; "))
            }
            Trouble::Tls(error) => refused(text!(
                "no TLS with {host}:{port} ({error}); check `tls.ca`, the name in the broker's certificate, and that it knows ours",
                "pas de TLS avec {host}:{port} ({error}) ; vérifiez `tls.ca`, le nom dans le certificat du broker, et qu'il reconnaît le nôtre",
            )),
            Trouble::Certificate(error) => refused(text!(
                "the broker does not let the hub in by its certificate ({error}): give `tls.certificate` and `tls.key` of an \
                 authority that the broker trusts, valid today",
                "le broker n'admet pas le hub sur son certificat ({error}) : donnez `tls.certificate` et `tls.key`, valables à \
                 ce jour et d'une autorité que le broker reconnaît",
            )),
            Trouble::Connect(error) => down(text!(
                "{host}:{port} cannot be reached ({error}); tried again by itself",
                "{host}:{port} est injoignable ({error}) ; nouvel essai automatique",
            )),
            Trouble::NoRoom => down(text!(
                "the hub has no room for its messages now: they stay with the broker; tried again by itself",
                "le hub n'a plus de place pour ses messages : ils restent chez le broker ; nouvel essai automatique",
            )),
            Trouble::Ended(end) => self.ended(*end),
        }
    }

    fn ended(&self, end: End) -> (BrokerState, Text) {
        match end {
            End::Left => (BrokerState::Down, text!("the hub is stopping", "le hub s'arrête")),
            End::Lost => down(text!(
                "the broker closed the connection; tried again by itself",
                "le broker a fermé la connexion ; nouvel essai automatique",
            )),
            End::NoAnswer | End::Silent => down(text!(
                "the broker does not answer; tried again by itself",
                "le broker ne répond pas ; nouvel essai automatique",
            )),
            End::Refused(code) => self.refused_by_connack(code),
            End::Disconnected(code) => self.disconnected(code),
            End::Lacks(lack) => refused(self.lacks(lack)),
            End::NotSubscribed { filter, code } => refused(self.not_subscribed(filter, code)),
            End::TooLarge(bytes) => refused(text!(
                "a message of {bytes} bytes is above the hub's {most}, and nothing behind it can come: bound it at the \
                 broker (mosquitto: `message_size_limit`), or set `version = \"5\"`, which tells the broker the limit",
                "un message de {bytes} octets dépasse les {most} du hub, et rien ne passe derrière lui : bornez-le chez le \
                 broker (mosquitto : `message_size_limit`), ou mettez `version = \"5\"`, qui lui dit la limite",
                most = self.packet_bytes,
            )),
            End::Fault(reason, detail) => refused(text!(
                "what came is not what a broker of MQTT {version} may send ({reason}: {detail}): check that `url` names its port",
                "ce qui est venu n'est pas ce qu'un broker MQTT {version} peut envoyer ({reason} : {detail}) : vérifiez que `url` désigne bien son port",
                version = self.version(),
            )),
        }
    }

    fn version(&self) -> &'static str {
        match self.config.asks.version {
            Version::V5 => "5",
            Version::V3 => "3.1.1",
        }
    }

    /// CONNACK: 1 to 5 are MQTT 3.1.1's, the rest 5's (section 3.2.2.2).
    fn refused_by_connack(&self, code: u8) -> (BrokerState, Text) {
        let client_id = &self.config.asks.client_id;
        match code {
            1 | 0x84 => refused(text!(
                "the broker does not speak MQTT {version}: set the other `version`",
                "le broker ne parle pas MQTT {version} : mettez l'autre `version`",
                version = self.version(),
            )),
            2 | 0x85 => refused(text!(
                "the broker does not take the client id `{client_id}`: set another `client_id`",
                "le broker n'accepte pas l'identifiant de client `{client_id}` : mettez un autre `client_id`",
            )),
            4 | 0x86 => refused(text!(
                "the broker refuses user name or password: correct `username` and `password`",
                "le broker refuse l'utilisateur ou le mot de passe : corrigez `username` et `password`",
            )),
            5 | 0x87 | 0x8A | 0x8C => refused(text!(
                "the broker does not let the hub in (code {code:#04x}): correct `username` and `password`, or allow its user \
                 or certificate there",
                "le broker ne laisse pas entrer le hub (code {code:#04x}) : corrigez `username` et `password`, ou \
                 autorisez-y son utilisateur ou son certificat",
                code = code,
            )),
            3 | 0x88 | 0x89 | 0x97 | 0x9F => down(text!(
                "the broker has no room for the hub now (code {code:#04x}); tried again by itself",
                "le broker n'a pas de place pour le hub (code {code:#04x}) ; nouvel essai automatique",
                code = code,
            )),
            _ => refused(text!(
                "the broker refuses the connection with the code {code:#04x}: see its log",
                "le broker refuse la connexion avec le code {code:#04x} : consultez son journal",
                code = code,
            )),
        }
    }

    fn disconnected(&self, code: u8) -> (BrokerState, Text) {
        match code {
            0x8E => refused(text!(
                "another client came with the id `{client_id}`: give each hub, and each `[broker.…]`, its own `client_id`",
                "un autre client est venu avec l'identifiant `{client_id}` : donnez à chaque hub et à chaque `[broker.…]` \
                 son propre `client_id`",
                client_id = self.config.asks.client_id,
            )),
            0x87 | 0x98 => refused(text!(
                "the broker ended the connection (code {code:#04x}): allow the hub's user there",
                "le broker a mis fin à la connexion (code {code:#04x}) : autorisez-y l'utilisateur du hub",
                code = code,
            )),
            _ => down(text!(
                "the broker ended the connection (code {code:#04x}); tried again by itself",
                "le broker a mis fin à la connexion (code {code:#04x}) ; nouvel essai automatique",
                code = code,
            )),
        }
    }

    fn lacks(&self, lack: Lack) -> Text {
        match lack {
            Lack::AtLeastOnce => text!(
                "the broker sends at QoS 0 alone, which may lose messages: raise its maximum QoS to 1",
                "le broker n'envoie qu'en QoS 0, ce qui peut perdre des messages : portez son QoS maximal à 1",
            ),
            Lack::SharedSubscriptions => text!(
                "the broker has no shared subscriptions: take `$share/…/` out of `subscriptions`, and have each hub \
                 subscribe to topics of its own",
                "le broker n'a pas d'abonnements partagés : retirez `$share/…/` de `subscriptions`, et abonnez chaque hub \
                 à ses propres sujets",
            ),
            Lack::Wildcards => text!(
                "the broker has no wildcard subscriptions: name each topic in `subscriptions`",
                "le broker n'a pas d'abonnements à jokers : nommez chaque sujet dans `subscriptions`",
            ),
        }
    }

    fn not_subscribed(&self, filter: usize, code: u8) -> Text {
        let filter = self.config.asks.filters.get(filter).map_or("", String::as_str);
        match code {
            0 => text!(
                "the broker grants `{filter}` at QoS 0 alone, which may lose messages: allow QoS 1 there",
                "le broker n'accorde `{filter}` qu'en QoS 0, ce qui peut perdre des messages : autorisez-y le QoS 1",
            ),
            0x9E => self.lacks(Lack::SharedSubscriptions),
            0xA2 => self.lacks(Lack::Wildcards),
            _ => text!(
                "the broker refuses the subscription to `{filter}` (code {code:#04x}): allow the hub's user to read it",
                "le broker refuse l'abonnement à `{filter}` (code {code:#04x}) : autorisez l'utilisateur du hub à le lire",
                code = code,
            ),
        }
    }
}

fn refused(reason: Text) -> (BrokerState, Text) {
    (BrokerState::Refused, reason)
}

fn down(reason: Text) -> (BrokerState, Text) {
    (BrokerState::Down, reason)
}
