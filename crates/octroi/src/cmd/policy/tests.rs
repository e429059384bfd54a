//! What the verbs say of the example region's policy, in both languages.

use clap::Parser;
use expect_test::{Expect, expect};
use octroi_policy::ast::Via;
use octroi_policy::diff::{diff, moves};
use octroi_policy::never::{self, Statement};
use octroi_policy::{Policy, SourceFile, hash, parse};

use super::*;
use crate::cli::{Cli, Command};
use crate::status::{Flow, Status};
use crate::words::Lang;

const EXAMPLE: &str = include_str!("../../../../../policies/bretagne-exemple.toml");

fn policy(text: &str) -> Policy {
    let files = [SourceFile { name: "p.toml".to_owned(), text: text.to_owned() }];
    let parsed = parse(&files);
    assert_eq!(parsed.findings, []);
    Policy::compile(&parsed.document, hash(&files)).unwrap()
}

fn typed(line: &str) -> PolicyCommand {
    let words = line.split(' ').map(|word| word.replace('~', " "));
    let cli = Cli::try_parse_from(["octroi".to_owned(), "policy".to_owned()].into_iter().chain(words));
    let Command::Policy(command) = cli.unwrap().command else { panic!("{line}") };
    command
}

fn check(line: &str, words: impl Fn(PolicyCommand, Lang) -> String, en: &Expect, fr: &Expect) {
    for (lang, expected) in [(Lang::En, en), (Lang::Fr, fr)] {
        expected.assert_eq(&words(typed(line), lang));
    }
}

fn prove(line: &str, policy: &Policy, en: &Expect, fr: &Expect) {
    let words = |command, lang| {
        let PolicyCommand::Prove(args) = command else { panic!("{line}") };
        let statement = Statement::parse(&args.never, &args.to, Via::Any, args.transformed, policy).unwrap();
        prove::words(&never::prove(policy, &statement), &args, lang)
    };
    check(line, words, en, fr);
}

#[test]
fn a_proof_says_what_was_tried_and_what_arrives_lowered() {
    prove(
        "prove p.toml --never level~>=~personal --to cloud-confiance",
        &policy(EXAMPLE),
        &expect![[r#"
            proved: `level >= personal` never arrives there (cloud-confiance)
            tried: 608 labels, 1,824 table cells (label × target), 1,824 flows (label → transform → target)
            arrives there lowered:
              personal → `eau-agregats-vers-cloud` → t-eau-agregat → internal → cloud-confiance"#]],
        &expect![[r#"
            prouvé : `level >= personal` n'y arrive jamais (cloud-confiance)
            examinés : 608 étiquettes, 1 824 cases du tableau (étiquette × hébergement), 1 824 flux (étiquette → transformation → hébergement)
            y arrive abaissé :
              personal → `eau-agregats-vers-cloud` → t-eau-agregat → internal → cloud-confiance"#]],
    );
}

#[test]
fn a_counterexample_is_a_flow_a_message_and_the_command_that_explains_it() {
    prove(
        "prove p.toml --never level~>=~internal --to kind:trusted_cloud --transformed false",
        &policy(EXAMPLE),
        &expect![[r#"
            not so: `level >= internal` can arrive there (kind:trusted_cloud), by 16 of these cells and flows
            tried: 608 labels, 1,824 table cells (label × target), 1,824 flows (label → transform → target)
              internal → `dechets-vers-cloud` → cloud-confiance
              source `lns-rennes`, domain `waste`, by dechets-remplissage
            this message does it:
              {"measures":["fill_level"],"source":"lns-rennes","tags":{"domain":"waste","insee":"35001"},"topic":"application/x/device/x/event/up"}
            put it into message.json and ask why:
              octroi explain --policy p.toml --given message.json --date 2026-11-15"#]],
        &expect![[r#"
            c'est faux : `level >= internal` peut y arriver (kind:trusted_cloud), par 16 de ces cases et flux
            examinés : 608 étiquettes, 1 824 cases du tableau (étiquette × hébergement), 1 824 flux (étiquette → transformation → hébergement)
              internal → `dechets-vers-cloud` → cloud-confiance
              source `lns-rennes`, métier `waste`, par dechets-remplissage
            ce message le montre :
              {"measures":["fill_level"],"source":"lns-rennes","tags":{"domain":"waste","insee":"35001"},"topic":"application/x/device/x/event/up"}
            placez-le dans message.json et demandez pourquoi :
              octroi explain --policy p.toml --given message.json --date 2026-11-15"#]],
    );
}

#[test]
fn a_label_that_no_rule_gives_is_said_to_be_so() {
    prove(
        "prove p.toml --never marking~biometric --to dc-bretagne",
        &policy(EXAMPLE),
        &expect![[r#"
            not so: `marking biometric` can arrive there (dc-bretagne), by 256 of these cells and flows
            tried: 1,120 labels, 3,360 table cells (label × target), 3,360 flows (label → transform → target)
              sensitive (biometric) → `energie-eau-35` → dc-bretagne
            no rule of today gives this label; the proof covers every label there can be"#]],
        &expect![[r#"
            c'est faux : `marking biometric` peut y arriver (dc-bretagne), par 256 de ces cases et flux
            examinés : 1 120 étiquettes, 3 360 cases du tableau (étiquette × hébergement), 3 360 flux (étiquette → transformation → hébergement)
              sensitive (biometric) → `energie-eau-35` → dc-bretagne
            aucune règle d'aujourd'hui ne donne cette étiquette ; la preuve couvre toutes les étiquettes possibles"#]],
    );
}

fn simulated(line: &str, en: &Expect, fr: &Expect) {
    let policy = policy(EXAMPLE);
    let words = |command, lang| {
        let PolicyCommand::Simulate(args) = command else { panic!("{line}") };
        let context =
            Context { json: false, lang, color: false, terminal: false, environment: Default::default() };
        let scenario = simulate::scenario(&policy, &args, &context).unwrap();
        simulate::words(&octroi_policy::simulate::simulate(&policy, &scenario).unwrap(), lang)
    };
    check(line, words, en, fr);
}

#[test]
fn a_target_that_is_down_is_waited_for() {
    simulated(
        "simulate p.toml --target-down dc-morbihan --target-down cloud-confiance",
        &expect![[r#"
            2026-11-15, compared with the same day as planned: 122 of 136 cases (source × domain × communes × label) go as before
            Primary spaces (nothing is rerouted)
              `telereleve-56`, water, Vannes (56260): personal, sensitive (3 labels, lowest: personal (personal, essential_service)): dc-morbihan (energie-eau-56): goes → waits for dc-morbihan
              `scada-56`, water, Vannes (56260): sensitive (3 labels, lowest: sensitive (secret_security, essential_service)): dc-morbihan (energie-eau-56): goes → waits for dc-morbihan
              `redon-lora`, energy, 11 communes, such as Allaire (56001): internal, personal, sensitive (8 labels, lowest: internal): dc-morbihan (energie-eau-56): goes → waits for dc-morbihan
            Copies
              `mobilite-vers-cloud` of `ville-mobilite`, mobility: open, internal (3 labels, lowest: open (video_derived)): goes → waits for cloud-confiance
              `mobilite-vers-cloud` of `redon-lora`, mobility: internal: goes → waits for cloud-confiance
              `eau-agregats-vers-cloud` of `telereleve-56`, water: personal (personal, essential_service): goes → waits for cloud-confiance
              `dechets-vers-cloud` of `lns-rennes`, waste: internal: goes → waits for cloud-confiance
              `dechets-vers-cloud` of `redon-lora`, waste: internal: goes → waits for cloud-confiance"#]],
        &expect![[r#"
            2026-11-15, comparé au même jour tel que prévu : 122 cas sur 136 (source × métier × communes × étiquette) restent comme avant
            Espaces principaux (rien n'est envoyé ailleurs)
              `telereleve-56`, water, Vannes (56260) : personal, sensitive (3 étiquettes, la plus basse : personal (personal, essential_service)) : dc-morbihan (energie-eau-56) : part → attend dc-morbihan
              `scada-56`, water, Vannes (56260) : sensitive (3 étiquettes, la plus basse : sensitive (secret_security, essential_service)) : dc-morbihan (energie-eau-56) : part → attend dc-morbihan
              `redon-lora`, energy, 11 communes, dont Allaire (56001) : internal, personal, sensitive (8 étiquettes, la plus basse : internal) : dc-morbihan (energie-eau-56) : part → attend dc-morbihan
            Copies
              `mobilite-vers-cloud` de `ville-mobilite`, mobility : open, internal (3 étiquettes, la plus basse : open (video_derived)) : part → attend cloud-confiance
              `mobilite-vers-cloud` de `redon-lora`, mobility : internal : part → attend cloud-confiance
              `eau-agregats-vers-cloud` de `telereleve-56`, water : personal (personal, essential_service) : part → attend cloud-confiance
              `dechets-vers-cloud` de `lns-rennes`, waste : internal : part → attend cloud-confiance
              `dechets-vers-cloud` de `redon-lora`, waste : internal : part → attend cloud-confiance"#]],
    );
}

#[test]
fn a_day_to_come_holds_what_has_lapsed_by_then() {
    simulated(
        "simulate p.toml --date 2028-01-01",
        &expect![[r#"
            2028-01-01, compared with 2026-11-15: 115 of 136 cases (source × domain × communes × label) go as before
            Primary spaces (nothing is rerouted)
              `lns-rennes`, energy, 43 communes, such as Acigné (35001): sensitive (5 labels, lowest: sensitive): dc-rennes (energie-rennes): goes → held since 2027-07-01 (E2-sensible)
              `ville-mobilite`, mobility, Rennes (35238): sensitive (6 labels, lowest: sensitive): dc-rennes (mobilite-rennes): goes → held since 2027-07-01 (E2-sensible)
              `telereleve-56`, water, Vannes (56260): sensitive (2 labels, lowest: sensitive (personal, essential_service)): dc-morbihan (energie-eau-56): goes → held since 2028-01-01 (E2-sensible)
              `scada-56`, water, Vannes (56260): sensitive (3 labels, lowest: sensitive (secret_security, essential_service)): dc-morbihan (energie-eau-56): goes → held since 2028-01-01 (E2-sensible)
              `redon-lora`, energy, 11 communes, such as Allaire (56001): sensitive (5 labels, lowest: sensitive): dc-morbihan (energie-eau-56): goes → held since 2028-01-01 (E2-sensible)
            Copies
              `eau-agregats-vers-cloud` of `telereleve-56`, water: personal (personal, essential_service): goes → stops since 2027-11-16 (declassification)
            Tests that would fail that day
              p.toml:536:1: Compteur d'eau : seul l'agrégat sort"#]],
        &expect![[r#"
            2028-01-01, comparé au 2026-11-15 : 115 cas sur 136 (source × métier × communes × étiquette) restent comme avant
            Espaces principaux (rien n'est envoyé ailleurs)
              `lns-rennes`, energy, 43 communes, dont Acigné (35001) : sensitive (5 étiquettes, la plus basse : sensitive) : dc-rennes (energie-rennes) : part → retenu depuis le 2027-07-01 (E2-sensible)
              `ville-mobilite`, mobility, Rennes (35238) : sensitive (6 étiquettes, la plus basse : sensitive) : dc-rennes (mobilite-rennes) : part → retenu depuis le 2027-07-01 (E2-sensible)
              `telereleve-56`, water, Vannes (56260) : sensitive (2 étiquettes, la plus basse : sensitive (personal, essential_service)) : dc-morbihan (energie-eau-56) : part → retenu depuis le 2028-01-01 (E2-sensible)
              `scada-56`, water, Vannes (56260) : sensitive (3 étiquettes, la plus basse : sensitive (secret_security, essential_service)) : dc-morbihan (energie-eau-56) : part → retenu depuis le 2028-01-01 (E2-sensible)
              `redon-lora`, energy, 11 communes, dont Allaire (56001) : sensitive (5 étiquettes, la plus basse : sensitive) : dc-morbihan (energie-eau-56) : part → retenu depuis le 2028-01-01 (E2-sensible)
            Copies
              `eau-agregats-vers-cloud` de `telereleve-56`, water : personal (personal, essential_service) : part → s'arrête depuis le 2027-11-16 (declassification)
            Essais qui échoueraient ce jour-là
              p.toml:536:1: Compteur d'eau : seul l'agrégat sort"#]],
    );
}

#[test]
fn a_record_that_lapses_holds_what_needs_it() {
    simulated(
        "simulate p.toml --expired dc-rennes:homologation --expired t-eau-agregat:declassification",
        &expect![[r#"
            2026-11-15, compared with the same day as planned: 125 of 136 cases (source × domain × communes × label) go as before
            Primary spaces (nothing is rerouted)
              `lns-rennes`, energy, 43 communes, such as Acigné (35001): sensitive (5 labels, lowest: sensitive): dc-rennes (energie-rennes): goes → held since 2026-11-15 (E2-sensible)
              `ville-mobilite`, mobility, Rennes (35238): sensitive (6 labels, lowest: sensitive): dc-rennes (mobilite-rennes): goes → held since 2026-11-15 (E2-sensible)
            Copies
              `eau-agregats-vers-cloud` of `telereleve-56`, water: personal (personal, essential_service): goes → stops since 2026-11-15 (declassification)
            Tests that would fail that day
              p.toml:536:1: Compteur d'eau : seul l'agrégat sort"#]],
        &expect![[r#"
            2026-11-15, comparé au même jour tel que prévu : 125 cas sur 136 (source × métier × communes × étiquette) restent comme avant
            Espaces principaux (rien n'est envoyé ailleurs)
              `lns-rennes`, energy, 43 communes, dont Acigné (35001) : sensitive (5 étiquettes, la plus basse : sensitive) : dc-rennes (energie-rennes) : part → retenu depuis le 2026-11-15 (E2-sensible)
              `ville-mobilite`, mobility, Rennes (35238) : sensitive (6 étiquettes, la plus basse : sensitive) : dc-rennes (mobilite-rennes) : part → retenu depuis le 2026-11-15 (E2-sensible)
            Copies
              `eau-agregats-vers-cloud` de `telereleve-56`, water : personal (personal, essential_service) : part → s'arrête depuis le 2026-11-15 (declassification)
            Essais qui échoueraient ce jour-là
              p.toml:536:1: Compteur d'eau : seul l'agrégat sort"#]],
    );
}

fn compared(new: &str, recorded: &str, en: &Expect, fr: &Expect) {
    let (old, new) = (policy(EXAMPLE), policy(new));
    let found = diff(&old, &new);
    let recorded = diff::recorded(recorded).unwrap();
    let moved = (!recorded.is_empty()).then(|| moves(&old, &new, &found.messages, &recorded));
    for (lang, expected) in [(Lang::En, en), (Lang::Fr, fr)] {
        expected.assert_eq(&diff::words(&old, &new, &found, moved.as_ref(), lang));
    }
}

#[test]
fn a_policy_and_itself_mean_the_same() {
    compared(
        EXAMPLE,
        "",
        &expect![[r#"
        bretagne-exemple 2026.11.2 → bretagne-exemple 2026.11.2
        the two mean the same"#]],
        &expect![[r#"
        bretagne-exemple 2026.11.2 → bretagne-exemple 2026.11.2
        les deux politiques disent la même chose"#]],
    );
}

const RECORDED: &str = r#"{"source":"lns-rennes","domain":"energy","level":"internal","markings":[],"per_hour":1200}
{"source":"lns-rennes","level":"internal","per_hour":30}
{"source":"nobody","level":"open","per_hour":1}
"#;

/// The example with a fault of each kind.
fn loosened() -> String {
    EXAMPLE
        .replace("2026.11.2", "2026.12.1")
        .replace(
            "level = \"sensitive\"\nmarkings = [\"personal\", \"secret_privacy\"]",
            "level = \"personal\"\nmarkings = [\"personal\", \"secret_privacy\"]",
        )
        .replace("must = { transformed = true }", "must = { country_in = \"EEA\" }")
        .replace(
            "domains = [\"energy\"]\ntarget = \"dc-rennes\"",
            "domains = [\"energy\"]\ntarget = \"dc-bretagne\"",
        )
        .replace("fields = [\"count\", \"speed_avg\"", "fields = [\"count\", \"device\", \"speed_avg\"")
        .replace("[[invariant]]\nid = \"G4\"", "[[invariant]]\nid = \"G5\"")
}

#[test]
fn what_is_lowered_comes_first_and_rates_come_with_it() {
    compared(
        &loosened(),
        RECORDED,
        &expect![[r#"
            bretagne-exemple 2026.11.2 → bretagne-exemple 2026.12.1
            LOWERED
              lowered: messages of `lns-rennes`, energy (energie-courbe-de-charge-fine): sensitive (personal, secret_privacy) → personal (personal, secret_privacy)
                {"measures":["active_power"],"source":"lns-rennes","tags":{"domain":"energy","insee":"35001","usage":"dwelling"},"topic":"application/x/device/x/event/up"}
              lowered: messages of `redon-lora`, energy (energie-courbe-de-charge-fine): sensitive (personal, secret_privacy) → personal (personal, secret_privacy)
                {"measures":["active_power"],"source":"redon-lora","tags":{"domain":"energy","insee":"35013","usage":"dwelling"},"topic":"application/x/device/x/event/up"}
              cloud-confiance may get personal, sensitive (192 labels, lowest: personal), which E5-transformer-avant-cloud kept away
              transform `t-mobilite-cloud` works otherwise, in a way that labels do not show: it may protect less
            Primary spaces
              energy, 43 communes, such as Acigné (35001): restricted (128 labels, lowest: restricted): dc-bretagne (energie-eau-35) → dc-bretagne (energie-rennes)
              energy, 43 communes, such as Acigné (35001): open, internal, personal, sensitive (224 labels, lowest: open): dc-rennes (energie-rennes) → dc-bretagne (energie-rennes)
            Blocks (+ added, - removed, ~ changed)
              ~ space energie-rennes
              ~ classify energie-courbe-de-charge-fine
              ~ requirement E5-transformer-avant-cloud
              ~ transform t-mobilite-cloud
              - invariant G4
              + invariant G5
            Tests
              of the old policy, fails by the new one: École : énergie interne, espace métropolitain
              of the old policy, fails by the new one: Logement : courbe de charge fine, jamais dans le cloud
            Recorded messages
              at most 1,230 of 1,231 messages an hour go elsewhere
              `lns-rennes`, energy, internal: 1,200 an hour: dc-rennes → dc-bretagne
              `lns-rennes`, internal: at most 30 an hour: dc-rennes → dc-bretagne
              1 record(s) of sources, domains or labels that the old policy does not have
            something is lowered"#]],
        &expect![[r#"
            bretagne-exemple 2026.11.2 → bretagne-exemple 2026.12.1
            ABAISSÉ
              abaissé : messages de `lns-rennes`, energy (energie-courbe-de-charge-fine) : sensitive (personal, secret_privacy) → personal (personal, secret_privacy)
                {"measures":["active_power"],"source":"lns-rennes","tags":{"domain":"energy","insee":"35001","usage":"dwelling"},"topic":"application/x/device/x/event/up"}
              abaissé : messages de `redon-lora`, energy (energie-courbe-de-charge-fine) : sensitive (personal, secret_privacy) → personal (personal, secret_privacy)
                {"measures":["active_power"],"source":"redon-lora","tags":{"domain":"energy","insee":"35013","usage":"dwelling"},"topic":"application/x/device/x/event/up"}
              cloud-confiance peut recevoir personal, sensitive (192 étiquettes, la plus basse : personal), ce que E5-transformer-avant-cloud interdisait
              transform `t-mobilite-cloud` opère autrement, sans que les étiquettes le montrent : la protection est peut-être moindre
            Espaces principaux
              energy, 43 communes, dont Acigné (35001) : restricted (128 étiquettes, la plus basse : restricted) : dc-bretagne (energie-eau-35) → dc-bretagne (energie-rennes)
              energy, 43 communes, dont Acigné (35001) : open, internal, personal, sensitive (224 étiquettes, la plus basse : open) : dc-rennes (energie-rennes) → dc-bretagne (energie-rennes)
            Blocs (+ ajouté, - retiré, ~ modifié)
              ~ space energie-rennes
              ~ classify energie-courbe-de-charge-fine
              ~ requirement E5-transformer-avant-cloud
              ~ transform t-mobilite-cloud
              - invariant G4
              + invariant G5
            Essais
              de l'ancienne, échoue selon la nouvelle : École : énergie interne, espace métropolitain
              de l'ancienne, échoue selon la nouvelle : Logement : courbe de charge fine, jamais dans le cloud
            Messages relevés
              au plus 1 230 messages sur 1 231 par heure vont ailleurs
              `lns-rennes`, energy, internal : 1 200 par heure : dc-rennes → dc-bretagne
              `lns-rennes`, internal : au plus 30 par heure : dc-rennes → dc-bretagne
              1 relevé(s) de sources, métiers ou étiquettes que l'ancienne politique n'a pas
            une protection est abaissée"#]],
    );
}

#[test]
fn a_stricter_policy_lowers_nothing() {
    let new = EXAMPLE
        .replace("max_level = \"internal\"\npurpose = \"Optimisation", "max_level = \"open\"\npurpose = \"Optimisation")
        .replace("id = \"dechets-remplissage\"\nwhen = { domain = \"waste\", measure_any = [\"fill_level\", \"weight\"] }\nlevel = \"internal\"", "id = \"dechets-remplissage\"\nwhen = { domain = \"waste\", measure_any = [\"fill_level\"] }\nlevel = \"sensitive\"");
    compared(
        &new,
        "",
        &expect![[r#"
        bretagne-exemple 2026.11.2 → bretagne-exemple 2026.11.2
        Other changes of labels and ways
          raised: messages of `lns-rennes`, waste (dechets-remplissage): internal → sensitive
            {"measures":["fill_level"],"source":"lns-rennes","tags":{"domain":"waste","insee":"35001"},"topic":"application/x/device/x/event/up"}
          raised: messages of `lns-rennes`, waste (dechets-remplissage, producteur-demande-plus): personal → sensitive
            {"declared":"personal","measures":["fill_level"],"source":"lns-rennes","tags":{"domain":"waste","insee":"35001"},"topic":"application/x/device/x/event/up"}
          raised: messages of `lns-rennes`, waste (dechets-badge, dechets-remplissage): personal (personal) → sensitive (personal)
            {"fields":["badge"],"measures":["fill_level"],"source":"lns-rennes","tags":{"domain":"waste","insee":"35001"},"topic":"application/x/device/x/event/up"}
          raised: messages of `redon-lora`, waste (dechets-remplissage): internal → sensitive
            {"measures":["fill_level"],"source":"redon-lora","tags":{"domain":"waste","insee":"35013"},"topic":"application/x/device/x/event/up"}
          raised: messages of `redon-lora`, waste (dechets-remplissage, producteur-demande-plus): personal → sensitive
            {"declared":"personal","measures":["fill_level"],"source":"redon-lora","tags":{"domain":"waste","insee":"35013"},"topic":"application/x/device/x/event/up"}
          raised: messages of `redon-lora`, waste (dechets-badge, dechets-remplissage): personal (personal) → sensitive (personal)
            {"fields":["badge"],"measures":["fill_level"],"source":"redon-lora","tags":{"domain":"waste","insee":"35013"},"topic":"application/x/device/x/event/up"}
          no longer classified: messages of `lns-rennes`, waste (dechets-remplissage): internal → quarantined (no_rule_matches)
            {"measures":["weight"],"source":"lns-rennes","tags":{"domain":"waste","insee":"35001"},"topic":"application/x/device/x/event/up"}
          no longer classified: messages of `redon-lora`, waste (dechets-remplissage): internal → quarantined (no_rule_matches)
            {"measures":["weight"],"source":"redon-lora","tags":{"domain":"waste","insee":"35013"},"topic":"application/x/device/x/event/up"}
          raised: copy `dechets-vers-cloud`, waste, of internal (16 labels, lowest: internal): before internal → cloud-confiance, now refused
        Blocks (+ added, - removed, ~ changed)
          ~ classify dechets-remplissage
          ~ copy dechets-vers-cloud
        nothing is lowered"#]],
        &expect![[r#"
        bretagne-exemple 2026.11.2 → bretagne-exemple 2026.11.2
        Autres changements d'étiquettes et de voies
          relevé : messages de `lns-rennes`, waste (dechets-remplissage) : internal → sensitive
            {"measures":["fill_level"],"source":"lns-rennes","tags":{"domain":"waste","insee":"35001"},"topic":"application/x/device/x/event/up"}
          relevé : messages de `lns-rennes`, waste (dechets-remplissage, producteur-demande-plus) : personal → sensitive
            {"declared":"personal","measures":["fill_level"],"source":"lns-rennes","tags":{"domain":"waste","insee":"35001"},"topic":"application/x/device/x/event/up"}
          relevé : messages de `lns-rennes`, waste (dechets-badge, dechets-remplissage) : personal (personal) → sensitive (personal)
            {"fields":["badge"],"measures":["fill_level"],"source":"lns-rennes","tags":{"domain":"waste","insee":"35001"},"topic":"application/x/device/x/event/up"}
          relevé : messages de `redon-lora`, waste (dechets-remplissage) : internal → sensitive
            {"measures":["fill_level"],"source":"redon-lora","tags":{"domain":"waste","insee":"35013"},"topic":"application/x/device/x/event/up"}
          relevé : messages de `redon-lora`, waste (dechets-remplissage, producteur-demande-plus) : personal → sensitive
            {"declared":"personal","measures":["fill_level"],"source":"redon-lora","tags":{"domain":"waste","insee":"35013"},"topic":"application/x/device/x/event/up"}
          relevé : messages de `redon-lora`, waste (dechets-badge, dechets-remplissage) : personal (personal) → sensitive (personal)
            {"fields":["badge"],"measures":["fill_level"],"source":"redon-lora","tags":{"domain":"waste","insee":"35013"},"topic":"application/x/device/x/event/up"}
          n'est plus classé : messages de `lns-rennes`, waste (dechets-remplissage) : internal → quarantined (no_rule_matches)
            {"measures":["weight"],"source":"lns-rennes","tags":{"domain":"waste","insee":"35001"},"topic":"application/x/device/x/event/up"}
          n'est plus classé : messages de `redon-lora`, waste (dechets-remplissage) : internal → quarantined (no_rule_matches)
            {"measures":["weight"],"source":"redon-lora","tags":{"domain":"waste","insee":"35013"},"topic":"application/x/device/x/event/up"}
          relevé : copie `dechets-vers-cloud`, waste, de internal (16 étiquettes, la plus basse : internal) : avant internal → cloud-confiance, désormais refusée
        Blocs (+ ajouté, - retiré, ~ modifié)
          ~ classify dechets-remplissage
          ~ copy dechets-vers-cloud
        aucune protection n'est abaissée"#]],
    );
}

#[test]
fn a_record_that_is_none_is_named_by_its_line() {
    let line = |text: &str| diff::recorded(text).map_err(|(line, _)| line);
    assert_eq!(line("\n{\"source\":\"s\",\"level\":\"open\",\"per_hour\":1}\n\nx").unwrap_err(), 4);
    assert_eq!(line("{\"source\":\"s\",\"level\":\"opened\",\"per_hour\":1}").unwrap_err(), 1);
    assert_eq!(line("{\"source\":\"s\",\"level\":\"open\",\"per_hour\":1,\"more\":1}").unwrap_err(), 1);
    assert_eq!(line("").unwrap(), []);
}

#[test]
fn the_flows_of_a_hub_count_once_and_only_where_a_label_is_known() {
    let flow = |target: &str, copy: &str| Flow {
        source: "s".to_owned(),
        producer: String::new(),
        level: "internal".to_owned(),
        target: target.to_owned(),
        copy: copy.to_owned(),
        messages: 10,
        per_second: 0.5,
    };
    let flows = [("dc", ""), ("cloud", "c"), ("hold", ""), ("quarantine", ""), ("refused", "")];
    let status = Status { flows: flows.map(|(target, copy)| flow(target, copy)).into(), ..Status::default() };
    let rates: Vec<f64> = diff::present(&status).map(|record| record.per_hour).collect();
    assert_eq!(rates, [1800.0, 1800.0]);
}
