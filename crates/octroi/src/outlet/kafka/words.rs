//! What operators are told of a Kafka target, in both languages: what is wrong,
//! and what mends it, as a command wherever there is one.

use octroi_policy::{Text, Timestamp, text};
use rdkafka::error::RDKafkaErrorCode;

use super::KafkaConfig;

/// What is wrong, and what mends it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) reason: Text,
    pub(super) mend: Text,
}

impl Trouble {
    /// Both in one sentence.
    pub(super) fn said(&self) -> Text {
        Text::join(&[self.reason.clone(), self.mend.clone()], "; ", " ; ")
    }
}

/// The command that makes a topic as a hub wants it.
pub(super) fn create_topic(config: &KafkaConfig, topic: &str) -> String {
    format!(
        "kafka-topics.sh --bootstrap-server {} --create --topic {topic} --partitions 8 --replication-factor 3 \
         --config min.insync.replicas=2",
        config.server()
    )
}

/// The command that changes one setting of a topic.
pub(super) fn set_topic(config: &KafkaConfig, topic: &str, setting: &str) -> String {
    format!(
        "kafka-configs.sh --bootstrap-server {} --alter --entity-type topics --entity-name {topic} --add-config \
         {setting}",
        config.server()
    )
}

/// The command that lets the hub write to a topic, and see how it is set.
pub(super) fn grant_topic(config: &KafkaConfig, topic: &str) -> String {
    format!(
        "kafka-acls.sh --bootstrap-server {} --add --allow-principal 'User:{}' --operation Write --operation \
         Describe --operation DescribeConfigs --topic {topic}",
        config.server(),
        user(config)
    )
}

fn grant_cluster(config: &KafkaConfig) -> String {
    format!(
        "kafka-acls.sh --bootstrap-server {} --add --allow-principal 'User:{}' --operation IdempotentWrite --cluster",
        config.server(),
        user(config)
    )
}

fn user(config: &KafkaConfig) -> &str {
    config.sasl.as_ref().map_or("<certificate's name>", |sasl| sasl.username.as_str())
}

/// The target refuses a record for what it is, or for who we are.
pub(super) fn refused(config: &KafkaConfig, code: RDKafkaErrorCode, topic: &str) -> Trouble {
    use RDKafkaErrorCode as Code;
    let grant = |command: String| text!("grant it: `{command}`", "accordez-le : `{command}`");
    if matches!(code, Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition) {
        let command = create_topic(config, topic);
        return Trouble {
            reason: text!("topic `{topic}` does not exist", "le topic `{topic}` n'existe pas"),
            mend: text!("create it: `{command}`", "créez-le : `{command}`"),
        };
    }
    if code == Code::TopicAuthorizationFailed {
        return Trouble {
            reason: text!(
                "we may not write to topic `{topic}`",
                "le hub n'a pas le droit d'écrire dans le topic `{topic}`"
            ),
            mend: grant(grant_topic(config, topic)),
        };
    }
    if is_authorization(code) {
        return Trouble {
            reason: text!(
                "we may not produce on this cluster (`{code}`)",
                "le hub n'a pas le droit de produire sur ce cluster (`{code}`)"
            ),
            mend: grant(grant_cluster(config)),
        };
    }
    Trouble {
        reason: text!(
            "topic `{topic}`: the cluster refuses records with `{code}`",
            "topic `{topic}` : le cluster refuse les enregistrements avec `{code}`"
        ),
        mend: text!(
            "see the brokers' logs for this topic and user",
            "consultez les journaux des brokers pour ce topic et cet utilisateur"
        ),
    }
}

pub(super) fn is_authorization(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(code, Code::ClusterAuthorizationFailed | Code::TransactionalIdAuthorizationFailed)
}

/// Another cluster answers.
pub(super) fn other_cluster(found: &str, expected: &str) -> Trouble {
    Trouble {
        reason: text!(
            "the cluster's id is `{found}`, not `{expected}`: nothing was sent to it",
            "l'identifiant du cluster est `{found}` et non `{expected}` : rien ne lui a été envoyé"
        ),
        mend: text!(
            "correct `brokers`, or `cluster_id` if the cluster was really made anew",
            "corrigez `brokers`, ou `cluster_id` si le cluster a vraiment été recréé"
        ),
    }
}

/// The cluster sends us where we may not go.
pub(super) fn stranger(broker: &str) -> Trouble {
    Trouble {
        reason: text!(
            "the cluster names the broker `{broker}`, which `allowed_brokers` does not allow: nothing is sent",
            "le cluster désigne le broker `{broker}`, que `allowed_brokers` n'autorise pas : rien n'est envoyé"
        ),
        mend: text!(
            "correct the brokers' `advertised.listeners`, or add it to `allowed_brokers` if it is really theirs",
            "corrigez `advertised.listeners` des brokers, ou ajoutez-le à `allowed_brokers` s'il est vraiment des leurs"
        ),
    }
}

/// TLS does not come about.
pub(super) fn tls(reason: &str) -> Trouble {
    Trouble {
        reason: text!("TLS fails: {reason}", "échec TLS : {reason}"),
        mend: text!(
            "check that no certificate has expired (`openssl x509 -enddate -noout -in …`), `tls.ca`, the brokers' names \
             in their certificates, and that ours is trusted there",
            "vérifiez qu'aucun certificat n'a expiré (`openssl x509 -enddate -noout -in …`), `tls.ca`, les noms des \
             brokers dans leurs certificats, et que le nôtre y est reconnu"
        ),
    }
}

/// Brokers close the connection then, and do not say why.
pub(super) fn own_certificate(ends: Timestamp) -> Trouble {
    Trouble {
        reason: text!("our own certificate ended on {ends}", "notre propre certificat a expiré le {ends}"),
        mend: text!(
            "have a new one issued, put it where `tls.certificate` and `tls.key` point, and restart the hub",
            "faites-en émettre un nouveau, déposez-le là où pointent `tls.certificate` et `tls.key`, et redémarrez le hub"
        ),
    }
}

/// They do not know us.
pub(super) fn authentication(reason: &str) -> Trouble {
    Trouble {
        reason: text!("authentication fails: {reason}", "échec de l'authentification : {reason}"),
        mend: text!(
            "check the user, its password and the mechanism (`kafka-configs.sh --describe --entity-type users`)",
            "vérifiez l'utilisateur, son mot de passe et le mécanisme (`kafka-configs.sh --describe --entity-type users`)"
        ),
    }
}

pub(super) fn unreachable(reason: &str) -> Text {
    text!(
        "not reachable: {reason}; tried again by itself",
        "injoignable : {reason} ; nouvel essai automatique"
    )
}

pub(super) fn no_broker() -> Text {
    text!("no broker is connected; tried again by itself", "aucun broker connecté ; nouvel essai automatique")
}

/// Brokers are connected, and acknowledge nothing.
pub(super) fn stalled(seconds: u64) -> Text {
    text!(
        "nothing acknowledged for more than {seconds} s, and nothing refused: too few replicas in sync for \
         `min.insync.replicas`, a partition without a leader, or packets lost on the way; tried again by itself, \
         see `kafka-topics.sh --describe --under-min-isr-partitions`",
        "aucun acquittement depuis plus de {seconds} s, et aucun refus : trop peu de réplicas synchronisés pour \
         `min.insync.replicas`, une partition sans leader, ou des paquets perdus en route ; nouvel essai automatique, \
         voir `kafka-topics.sh --describe --under-min-isr-partitions`"
    )
}
