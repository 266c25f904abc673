//! Tables of resources: what was exported comes back, here and elsewhere.

use serde_json::json;

use super::resources::segment;
use super::*;

/// Sends a table of segments.
async fn import(running: &Running, path: &str, table: &str) -> Answer {
    let request = running.request("POST", path).bearer_auth(ADMIN);
    running.send(request.body(table.to_owned())).await
}

/// What an import says of each row.
fn outcomes(answer: &Answer) -> Vec<String> {
    let rows = answer.json["results"].as_array().unwrap().iter();
    rows.map(|row| {
        format!(
            "{} {}",
            row["name"].as_str().unwrap(),
            row["outcome"].as_str().unwrap()
        )
    })
    .collect()
}

#[tokio::test]
async fn an_exported_table_comes_back_as_it_was_whatever_became_of_its_rows() {
    let path = "/api/v1/segments/import";
    let running = start().await;
    for name in ["kept", "edited", "gone"] {
        segment(&running, name).await;
    }
    let with_code = json!({"name": "coded", "code": "c", "description": "x", "rule": {"and": []}});
    running.post("/api/v1/segments", with_code).await.ok();
    let csv = running.get("/api/v1/segments/export").await.ok().text;
    let change = json!({"rule": {"and": []}, "folder": "f"});
    let url = "/api/v1/segments/2";
    running
        .with_key("PATCH", url, ADMIN, Some(change))
        .await
        .ok();
    let url = "/api/v1/segments/3";
    running.with_key("DELETE", url, ADMIN, None).await.ok();
    let url = "/api/v1/segments/4";
    let renamed = json!({"name": "coded otherwise"});
    running
        .with_key("PATCH", url, ADMIN, Some(renamed))
        .await
        .ok();
    let expected = [
        "kept unchanged",
        "edited changed",
        "gone created",
        "coded changed",
    ];
    let dry = import(&running, &format!("{path}?dry_run=true"), &csv)
        .await
        .ok();
    assert_eq!(outcomes(&dry), expected);
    assert_eq!(dry.json["results"][2]["id"], Value::Null, "{}", dry.text);
    let done = import(&running, path, &csv).await.ok();
    assert_eq!(outcomes(&done), expected);
    let counts = ["created", "changed", "unchanged", "refused"].map(|it| done.json[it].clone());
    assert_eq!(counts, [1, 2, 1, 0]);
    assert_eq!(done.json["results"][2]["id"], 5);
    // What it says is so already: no version, no entry, and no error.
    let again = import(&running, path, &csv).await.ok();
    assert_eq!(again.json["unchanged"], 4, "{}", again.text);
    let same = running.get("/api/v1/segments/1").await.ok();
    assert_eq!(same.json["version"], 1);
    let edited = running.get("/api/v1/segments/2").await.ok();
    assert_eq!(
        (&edited.json["rule"]["attr"], &edited.json["folder"]),
        (&json!("city"), &json!("")),
        "an empty cell empties: {}",
        edited.text
    );

    // Columns that are not there stay as they are.
    let moved = import(&running, path, "name,folder\nkept,a/b\n").await.ok();
    assert_eq!(outcomes(&moved), ["kept changed"]);
    let kept = running.get("/api/v1/segments/1").await.ok();
    assert_eq!(
        (&kept.json["rule"]["attr"], &kept.json["folder"]),
        (&json!("city"), &json!("a/b"))
    );
    running.service.stop().await;

    let other = start().await;
    for _ in 0..2 {
        // Numbers differ from now on.
        segment(&other, "own").await;
        other
            .with_key("DELETE", "/api/v1/segments/1", ADMIN, None)
            .await;
        other
            .with_key("DELETE", "/api/v1/segments/2", ADMIN, None)
            .await;
    }
    let done = import(&other, path, &csv).await.ok();
    assert_eq!(done.json["created"], 4, "{}", done.text);
    let again = import(&other, path, &csv).await.ok();
    assert_eq!(again.json["unchanged"], 4, "{}", again.text);
    other.service.stop().await;
}

#[tokio::test]
async fn every_row_of_a_table_that_cannot_be_taken_is_named() {
    let path = "/api/v1/segments/import";
    let running = start().await;
    let coded = json!({"name": "coded", "code": "c", "rule": {"and": []}});
    running.post("/api/v1/segments", coded).await.ok();
    let table = "name,code,rule\n\
        new,,\"{\"\"and\"\":[]}\"\n\
        wrong,,\"{\"\"attr\"\":\"\"none\"\"}\"\n\
        coded,other,\"{\"\"and\"\":[]}\"\n\
        twice,t,\"{\"\"and\"\":[]}\"\n\
        twice again,t,\"{\"\"and\"\":[]}\"\n\
        coded,c,\"{\"\"and\"\":[]}\"\n\
        again,c,\"{\"\"and\"\":[]}\"\n";
    let refused = import(&running, path, table).await;
    assert_eq!(
        (refused.status, refused.code()),
        (422, "import_invalid"),
        "{}",
        refused.text
    );
    let details = refused.json["error"]["details"].as_array().unwrap();
    let rows: Vec<_> = details
        .iter()
        .map(|it| (it["row"].as_u64().unwrap(), it["code"].as_str().unwrap()))
        .collect();
    let expected = [2, 3, 5, 7];
    assert_eq!(
        rows.iter().map(|(row, _)| *row).collect::<Vec<_>>(),
        expected,
        "{rows:?}"
    );
    assert!(
        rows[1..].iter().all(|(_, code)| *code == "name_taken"),
        "{rows:?}"
    );
    let dry = import(&running, &format!("{path}?dry_run=true"), table)
        .await
        .ok();
    let told = [
        "created",
        "refused",
        "refused",
        "created",
        "refused",
        "unchanged",
        "refused",
    ];
    let outcome = |at: usize| dry.json["results"][at]["outcome"].clone();
    assert_eq!(
        (0..7).map(outcome).collect::<Vec<_>>(),
        told,
        "{}",
        dry.text
    );
    assert_eq!(dry.json["results"][1]["errors"][0]["row"], 2);
    let list = running.get("/api/v1/segments").await.ok();
    assert_eq!(list.json["total"], 1, "all or none");
    running.service.stop().await;
}

#[tokio::test]
async fn references_between_rows_of_a_table_follow_them() {
    let path = "/api/v1/segments/import";
    let running = start().await;
    segment(&running, "base").await;
    let user = json!({"name": "user", "rule": {"segment": "1"}});
    running.post("/api/v1/segments", user).await.ok();
    let csv = running.get("/api/v1/segments/export").await.ok().text;
    running.service.stop().await;

    // Elsewhere, the numbers are others'. Whichever row comes first.
    let mut lines: Vec<&str> = csv.lines().collect();
    lines[1..].reverse();
    for table in [csv.clone(), lines.join("\n")] {
        let other = start().await;
        segment(&other, "another").await;
        let dry = import(&other, &format!("{path}?dry_run=true"), &table)
            .await
            .ok();
        assert_eq!(dry.json["created"], 2, "{}", dry.text);
        for outcome in ["created", "unchanged"] {
            let done = import(&other, path, &table).await.ok();
            assert_eq!(done.json[outcome], 2, "{}", done.text);
        }
        let user = other.get("/api/v1/segments/3").await.ok();
        assert_eq!(
            (&user.json["name"], &user.json["rule"]),
            (&json!("user"), &json!({"segment": "2"})),
            "{}",
            user.text
        );
        let uses = other.get("/api/v1/segments/2/uses").await.ok();
        assert_eq!(uses.json["items"][0]["id"], 3, "{}", uses.text);
        other.service.stop().await;
    }

    // What refers to a row that cannot be taken, or in a circle, cannot be taken either.
    let other = start().await;
    let rule = |id: &str| format!("\"{{\"\"segment\"\":\"\"{id}\"\"}}\"");
    let table = format!(
        "id,name,rule\n1,a,{}\n2,b,{}\n3,c,\"{{\"\"attr\"\":\"\"none\"\"}}\"\n4,d,{}\n5,e,{}\n",
        rule("2"),
        rule("1"),
        rule("3"),
        rule("9")
    );
    let refused = import(&other, path, &table).await;
    assert_eq!(refused.code(), "import_invalid");
    let details = refused.json["error"]["details"].as_array().unwrap();
    let rows = details.iter().map(|it| it["row"].as_u64().unwrap());
    assert_eq!(
        rows.collect::<Vec<_>>(),
        [1, 2, 3, 4, 5],
        "{}",
        refused.text
    );
    other.service.stop().await;
}

#[tokio::test]
async fn tags_of_one_table_name_each_other() {
    let running = start().await;
    let tag = |code: &str, rule: Value| {
        json!({"name": code, "code": code, "value_type": "text", "calculation":
            {"type": "rule", "cases": [{"value": "x", "rule": rule}]}})
    };
    running
        .post("/api/v1/tags", tag("z", json!({"and": []})))
        .await
        .ok();
    let of = json!({"tag": "z", "op": "eq", "value": "x"});
    running.post("/api/v1/tags", tag("a", of)).await.ok();
    let csv = running.get("/api/v1/tags/export?sort=name").await.ok().text;
    running.service.stop().await;
    let other = start().await;
    let request = other
        .request("POST", "/api/v1/tags/import")
        .bearer_auth(ADMIN);
    let done = other.send(request.body(csv)).await.ok();
    assert_eq!(outcomes(&done), ["a created", "z created"]);
    other.service.stop().await;
}
