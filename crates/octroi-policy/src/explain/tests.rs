use expect_test::{Expect, expect};

use crate::Lang;
use crate::{Input, Policy, SourceFile, Timestamp, parse};

const EXAMPLE: &str = include_str!("../../../../policies/bretagne-exemple.toml");

fn example() -> Policy {
    let parsed = parse(&[SourceFile { name: "p.toml".to_owned(), text: EXAMPLE.to_owned() }]);
    Policy::compile(&parsed.document, [0xab; 32]).unwrap()
}

fn check(identity: &str, topic: &str, payload: &str, day: &str, lang: Lang, expected: &Expect) {
    let policy = example();
    let input = Input {
        source: policy.source(identity).unwrap(),
        topic,
        payload: payload.as_bytes(),
        user_properties: &[],
        received: Timestamp::parse_rfc3339(&format!("{day}T06:01:10Z")).unwrap(),
    };
    expected.assert_eq(&policy.explain(&input).in_words(lang));
}

const CAMERA: &str = "cert:CN=mobilite.rennes.example";

#[test]
fn a_plate_is_explained_in_both_languages() {
    let (topic, payload) = (
        "ville/mobilite/cam-12/anpr",
        r#"{"plate":"AB-123-CD","type":"AnprFlowObserved","sensitivity":"open"}"#,
    );
    check(
        CAMERA,
        topic,
        payload,
        "2026-11-20",
        Lang::En,
        &expect![[r#"
        Message received 2026-11-20 06:01:10 UTC from `ville-mobilite` (Rennes Métropole), topic `ville/mobilite/cam-12/anpr`, Rennes (35238).
        **Level: sensitive** (personal, offence, location_trace), because of rule `mobilite-plaques` (field `plate` present, domain mobility) and rule `mobilite-type-lapi` (type `AnprFlowObserved`). Also matching, lower: `producteur-demande-plus` (open). The sender said "open": ignored, a source can only raise.
        **Hosting: dc-rennes**, space `mobilite-rennes` (scale: mobility basin). Requirements held: E1-contrat and E2-sensible (until 2027-06-30).
        **Copy refused:** `mobilite-vers-cloud` to cloud-confiance (level sensitive, maximum internal).
        Processing T-lapi-fps, kept 7 days. Policy 2026.11.2 (blake3 abababababababab)."#]],
    );
    check(
        CAMERA,
        topic,
        payload,
        "2026-11-20",
        Lang::Fr,
        &expect![[r#"
            Message reçu le 2026-11-20 06:01:10 UTC de `ville-mobilite` (Rennes Métropole), sujet `ville/mobilite/cam-12/anpr`, Rennes (35238).
            **Niveau : sensible** (personal, offence, location_trace), selon la règle `mobilite-plaques` (champ `plate` présent, métier mobility) et la règle `mobilite-type-lapi` (type `AnprFlowObserved`). Correspondent aussi, plus bas : `producteur-demande-plus` (ouvert). L'émetteur a déclaré « ouvert » : ignoré, une source ne peut que relever.
            **Hébergement : dc-rennes**, espace `mobilite-rennes` (échelle : bassin de mobilité). Exigences tenues : E1-contrat et E2-sensible (jusqu'au 2027-06-30).
            **Copie refusée :** `mobilite-vers-cloud` vers cloud-confiance (niveau sensible, maximum interne).
            Traitement T-lapi-fps, conservé 7 jours. Politique 2026.11.2 (blake3 abababababababab)."#]],
    );
}

#[test]
fn a_lapsed_accreditation_holds_and_says_since_when() {
    check(
        CAMERA,
        "ville/mobilite/cam-12/anpr",
        r#"{"plate":"AB"}"#,
        "2027-07-01",
        Lang::En,
        &expect![[r#"
            Message received 2027-07-01 06:01:10 UTC from `ville-mobilite` (Rennes Métropole), topic `ville/mobilite/cam-12/anpr`, Rennes (35238).
            **Level: sensitive** (personal, offence, location_trace), because of rule `mobilite-plaques` (field `plate` present, domain mobility).
            **Held for: dc-rennes**, space `mobilite-rennes` (scale: mobility basin). Requirements held: E1-contrat. Requirements not held: E2-sensible (lapsed after 2027-06-30).
            Processing T-lapi-fps, kept 7 days. Policy 2026.11.2 (blake3 abababababababab)."#]],
    );
}

#[test]
fn a_copy_that_goes_and_a_doubt_are_explained() {
    check(
        CAMERA,
        "ville/mobilite/c7/count",
        r#"{"count":3}"#,
        "2026-11-20",
        Lang::Fr,
        &expect![[r#"
            Message reçu le 2026-11-20 06:01:10 UTC de `ville-mobilite` (Rennes Métropole), sujet `ville/mobilite/c7/count`, Rennes (35238).
            **Niveau : ouvert** (video_derived), selon la règle `mobilite-comptage` (sujet `ville/mobilite/+/count`, métier mobility, schéma fermé respecté).
            **Hébergement : dc-rennes**, espace `mobilite-rennes` (échelle : bassin de mobilité).
            **Copie :** `mobilite-vers-cloud` vers cloud-confiance (niveau ouvert).
            Politique 2026.11.2 (blake3 abababababababab)."#]],
    );
    check(
        CAMERA,
        "ville/mobilite/c7/count",
        r#"{"count":3,"count":4}"#,
        "2026-11-20",
        Lang::En,
        &expect![[r#"
        Message received 2026-11-20 06:01:10 UTC from `ville-mobilite` (Rennes Métropole), topic `ville/mobilite/c7/count`. **Quarantined: ambiguous payload** (duplicate key (byte 12)). It stays on the hub's own disk, treated as restricted.
        Policy 2026.11.2 (blake3 abababababababab)."#]],
    );
    check(
        CAMERA,
        "ville/mobilite/c7/etat",
        r#"{"state":3}"#,
        "2026-11-20",
        Lang::Fr,
        &expect![[r#"
        Message reçu le 2026-11-20 06:01:10 UTC de `ville-mobilite` (Rennes Métropole), sujet `ville/mobilite/c7/etat`, Rennes (35238). **Mis en quarantaine : aucune règle ne correspond**. Il reste sur le disque du concentrateur, traité comme restreint.
        Politique 2026.11.2 (blake3 abababababababab)."#]],
    );
}

#[test]
#[expect(clippy::too_many_lines, reason = "the expected JSON")]
fn the_json_has_the_keys_that_operators_read() {
    let policy = example();
    let input = Input {
        source: policy.source(CAMERA).unwrap(),
        topic: "ville/mobilite/c7/count",
        payload: br#"{"count":3,"plate":"AB"}"#,
        user_properties: &[],
        received: Timestamp::parse_rfc3339("2026-11-20T06:01:10Z").unwrap(),
    };
    expect![[r#"
        {
          "outcome": "routed",
          "reason": null,
          "level": "sensitive",
          "markings": [
            "personal",
            "offence",
            "location_trace"
          ],
          "rules": [
            {
              "id": "mobilite-plaques",
              "level": "sensitive",
              "because": null,
              "matched": [
                "field plate",
                "domain mobility"
              ]
            }
          ],
          "space": "mobilite-rennes",
          "scale": "bassin_mobilite",
          "target": "dc-rennes",
          "requirements": [
            {
              "id": "E1-contrat",
              "held": true
            },
            {
              "id": "E2-sensible",
              "held": true
            }
          ],
          "copies": [
            {
              "id": "mobilite-vers-cloud",
              "target": "cloud-confiance",
              "level": "sensitive",
              "refused_by": "max_level"
            }
          ],
          "policy": {
            "id": "bretagne-exemple",
            "version": "2026.11.2",
            "hash": "abababababababababababababababababababababababababababababababab"
          },
          "facts": {
            "source": "ville-mobilite",
            "producer": "243500139",
            "topic": "ville/mobilite/c7/count",
            "received": "2026-11-20T06:01:10Z",
            "device": "ville/mobilite/c7/count",
            "domain": "mobility",
            "commune": "35238",
            "time": null,
            "types": [],
            "measures": [
              "count"
            ],
            "fields": [
              "count",
              "plate"
            ],
            "tags": [],
            "declared": null
          }
        }"#]]
    .assert_eq(&serde_json::to_string_pretty(&policy.explain(&input)).unwrap());
}
