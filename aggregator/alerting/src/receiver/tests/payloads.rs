//! What leaves, byte for byte.

use super::world::{alert, body, notification, request, resolved, step};
use crate::notification::{Notification, Outcome};
use crate::receiver::exchange::{Answer, Request, Step};

fn many(kind: &str, settings: &str, count: usize) -> Notification {
    let mut notification = notification(kind, settings);
    let alerts = (0..count).map(|number| alert("firing", &format!("db-{number}")));
    notification.data.alerts = alerts.collect();
    notification.data.common_labels.remove("instance");
    notification
}

#[test]
fn webhooks_get_version_4() {
    let mut one = notification("webhook", "url: https://h.example/hook");
    one.truncated_alerts = 2;
    let sent = request(&one);
    assert_eq!(
        (sent.method.as_str(), sent.url.as_str()),
        ("POST", "https://h.example/hook")
    );
    assert_eq!(
        String::from_utf8(sent.body).unwrap(),
        concat!(
            r#"{"receiver":"r","status":"firing","alerts":[{"status":"firing","labels":{"alertname":"DiskFull","instance":"db-1","severity":"critical"},"#,
            r#""annotations":{"runbook_url":"https://runbooks.example.org/disk","summary":"97% \u003cfull\u003e \u0026 rising","value":"97"},"#,
            r#""startsAt":"2026-03-14T08:00:00Z","endsAt":"0001-01-01T00:00:00Z","generatorURL":"https://prom.example.org/graph?g0.expr=a\u0026g0.tab=1","fingerprint":"f-db-1"}],"#,
            r#""notification_reason":"first_notification","groupLabels":{"alertname":"DiskFull"},"commonLabels":{"alertname":"DiskFull","instance":"db-1","severity":"critical"},"#,
            r#""commonAnnotations":{"runbook_url":"https://runbooks.example.org/disk","summary":"97% \u003cfull\u003e \u0026 rising","value":"97"},"routeLabels":{},"externalURL":"https://am.example.org","#,
            r#""version":"4","groupKey":"{}:{alertname=\"DiskFull\"}","truncatedAlerts":2}"#,
            "\n"
        )
    );
}

#[test]
fn webhooks_take_payloads_and_urls_of_ones_own() {
    let settings = r#"
url: 'https://h.example/{{ .GroupLabels.alertname | toLower }}'
payload:
  z: '{{ .Status }}'
  a: ['{{ len .Alerts }}', '{{ eq .Status "firing" }}', '', text]
  labels: '{{ .CommonLabels | toJson }}'
"#;
    let mut one = notification("webhook", settings);
    one.data
        .common_labels
        .insert("port".to_owned(), "9090".to_owned());
    one.data
        .common_labels
        .insert("trap".to_owned(), "{{ fail }}".to_owned());
    assert_eq!(request(&one).url, "https://h.example/diskfull");
    assert_eq!(
        body(&one),
        concat!(
            r#"{"a":[1,true,null,"text"],"labels":{"alertname":"DiskFull","instance":"db-1","port":"9090","severity":"critical","trap":"{{ fail }}"},"z":"firing"}"#,
            "\n"
        )
    );
}

#[test]
fn slack_gets_an_attachment() {
    let settings = r##"
api_url: https://hooks.slack.com/services/T/B/x
channel: '#{{ .CommonLabels.severity }}'
link_names: true
short_fields: true
fields: [{title: T, value: '{{ .Status }}'}, {title: U, value: v, short: false}]
actions: [{type: button, text: Go, url: 'https://h', confirm: {text: Sure?, ok_text: Yes}}]
message_text: hi
"##;
    assert_eq!(
        body(&notification("slack", settings)),
        concat!(
            r##"{"channel":"#critical","username":"Alertmanager","link_names":true,"text":"hi","attachments":[{"title":"[FIRING:1] DiskFull (db-1 critical)","##,
            r##""title_link":"https://am.example.org/#/alerts?receiver=r","text":"","fallback":"[FIRING:1] DiskFull (db-1 critical) | https://am.example.org/#/alerts?receiver=r","##,
            r##""callback_id":"","fields":[{"title":"T","value":"firing","short":true},{"title":"U","value":"v","short":false}],"##,
            r##""actions":[{"type":"button","text":"Go","url":"https://h","confirm":{"text":"Sure?","ok_text":"Yes"}}],"footer":"","color":"danger","mrkdwn_in":["fallback","pretext","text"]}]}"##,
            "\n"
        )
    );
    let long = "api_url: https://h\ntitle: '{{ range list 1 2 3 4 5 6 7 8 9 }}".to_owned()
        + &"x".repeat(200)
        + "{{ end }}'\nsend_resolved: true";
    let text = body(&notification("slack", &long));
    assert!(text.contains(&format!(r#""title":"{}…""#, "x".repeat(1023))));
}

#[test]
fn slack_messages_are_updated_in_place() {
    let settings = "api_url: https://slack.com/api/chat.postMessage\nchannel: c\nupdate_message: true\nhttp_config: {authorization: {credentials: t}}";
    let mut one = notification("slack", settings);
    let answer = |body: &str| Answer {
        status: 200,
        content_type: "application/json; charset=utf-8".to_owned(),
        body: body.as_bytes().to_vec(),
        ..Answer::default()
    };
    let Step::Send(first, then) = step(&one) else {
        panic!("sends")
    };
    assert_eq!(first.url, "https://slack.com/api/chat.postMessage");
    let Step::Done(Outcome::Delivered { remembered }) =
        then(&answer(r#"{"ok":true,"ts":"17.5","channel":"C1"}"#))
    else {
        panic!("delivered")
    };
    one.remembered = remembered;
    let Step::Send(second, then) = step(&one) else {
        panic!("sends")
    };
    assert_eq!(second.url, "https://slack.com/api/chat.update");
    assert!(
        second
            .body
            .starts_with(br#"{"channel":"C1","ts":"17.5","username":"#)
    );
    // Somebody has deleted the message: a new one takes its place.
    let Step::Send(third, then) = then(&answer(r#"{"ok":false,"error":"message_not_found"}"#))
    else {
        panic!("sends")
    };
    assert_eq!(third, first);
    let Step::Done(Outcome::GiveUp(failure)) = then(&answer(r#"{"ok":false,"error":"no_text"}"#))
    else {
        panic!("given up")
    };
    assert_eq!(failure.reason, "Slack refused the message: no_text");
}

#[test]
fn pagerduty_gets_events() {
    let settings = r#"
routing_key: key
class: '{{ .CommonLabels.alertname }}'
images: [{src: 'https://i', alt: a, href: ''}, {src: '', alt: b}]
links: [{href: 'https://l', text: t}]
details: {team: db, firing: '', resolved: '', nested: {n: '{{ len .Alerts }}'}}
"#;
    let hash = crate::receiver::text::hash("{}:{alertname=\"DiskFull\"}");
    let sent = request(&notification("pagerduty", settings));
    assert_eq!(sent.url, "https://events.pagerduty.com/v2/enqueue");
    assert_eq!(
        String::from_utf8(sent.body).unwrap(),
        format!(
            concat!(
                r##"{{"routing_key":"key","dedup_key":"{hash}","event_action":"trigger","payload":{{"summary":"[FIRING:1] DiskFull (db-1 critical)","source":"Alertmanager","severity":"error","class":"DiskFull","##,
                r##""custom_details":{{"firing":null,"nested":{{"n":1}},"num_firing":1,"num_resolved":0,"resolved":null,"team":"db"}}}},"##,
                r##""client":"Alertmanager","client_url":"https://am.example.org/#/alerts?receiver=r","images":[{{"src":"https://i","alt":"a","href":""}}],"links":[{{"href":"https://l","text":"t"}}]}}"##,
                "\n"
            ),
            hash = hash
        )
    );
    assert!(body(&resolved("pagerduty", settings)).contains(r#""event_action":"resolve""#));
    let large = many("pagerduty", "routing_key: key", 2_000);
    let text = body(&large);
    assert!(
        text.len() < 2_000
            && text.contains("\"custom_details\":{\"error\":\"Custom details have been removed")
    );
}

#[test]
fn pagerduty_of_old_gets_events_of_version_1() {
    let settings =
        "service_key: key\ndetails: {firing: x, resolved: y, num_firing: a, num_resolved: b}";
    let hash = crate::receiver::text::hash("{}:{alertname=\"DiskFull\"}");
    let sent = request(&resolved("pagerduty", settings));
    assert_eq!(
        sent.url,
        "https://events.pagerduty.com/generic/2010-04-15/create_event.json"
    );
    assert_eq!(
        String::from_utf8(sent.body).unwrap(),
        format!(
            "{{\"service_key\":\"key\",\"incident_key\":\"{hash}\",\"event_type\":\"resolve\",\"description\":\"[RESOLVED] DiskFull (db-1 critical)\",\"event_action\":\"\",\"payload\":null,\"details\":{{\"firing\":\"x\",\"num_firing\":\"a\",\"num_resolved\":\"b\",\"resolved\":\"y\"}}}}\n"
        )
    );
}

#[test]
fn teams_gets_cards() {
    let settings = "webhook_url: https://h\ntitle: T\ntext: '{{ .Status }} <x>'\n";
    assert_eq!(
        body(&notification("msteamsv2", settings)),
        concat!(
            r#"{"type":"message","attachments":[{"contentType":"application/vnd.microsoft.card.adaptive","contentUrl":null,"content":{"$schema":"http://adaptivecards.io/schemas/adaptive-card.json","type":"AdaptiveCard","version":"1.2","#,
            r#""body":[{"type":"TextBlock","text":"T","weight":"Bolder","size":"Medium","wrap":true,"style":"heading","color":"Attention"},{"type":"TextBlock","text":"firing \u003cx\u003e","wrap":true}],"msteams":{"width":"full"}}}]}"#,
            "\n"
        )
    );
    assert_eq!(
        body(&resolved("msteams", &format!("{settings}summary: S"))),
        concat!(
            r#"{"@context":"http://schema.org/extensions","@type":"MessageCard","title":"T","summary":"S","text":"resolved \u003cx\u003e","themeColor":"2DC72D"}"#,
            "\n"
        )
    );
    for kind in ["msteams", "msteamsv2"] {
        let large = body(&many(kind, "webhook_url: https://h", 500));
        assert!(
            (20_000..=28 * 1024).contains(&large.len()),
            "{}",
            large.len()
        );
        assert!(large.contains('…'));
    }
}

#[test]
fn rich_messages_show_what_is_wrong_at_a_glance() {
    let mut one = notification("slack", "api_url: https://h\nstyle: rich");
    one.data.alerts.push(alert("resolved", "db-2"));
    one.data.common_labels.remove("instance");
    assert_eq!(
        body(&one),
        concat!(
            r##"{"username":"Alertmanager","text":"*[FIRING:1] DiskFull (critical)*","attachments":[{"color":"#b42318","fallback":"[FIRING:1] DiskFull (critical)","blocks":["##,
            r##"{"type":"section","text":{"type":"mrkdwn","text":"97% \u0026lt;full\u0026gt; \u0026amp; rising"}},"##,
            r##"{"type":"section","fields":[{"type":"mrkdwn","text":"*alertname*\nDiskFull"},{"type":"mrkdwn","text":"*severity*\ncritical"}]},"##,
            r##"{"type":"section","text":{"type":"mrkdwn","text":"*Firing (1)*\n• \u003chttps://prom.example.org/graph?g0.expr=a\u0026amp;g0.tab=1|97% \u0026lt;full\u0026gt; \u0026amp; rising (instance=db-1)\u003e · *97* · since 2026-03-14 08:00 UTC (1h 5m)"}},"##,
            r##"{"type":"section","text":{"type":"mrkdwn","text":"*Resolved (1)*\n• \u003chttps://prom.example.org/graph?g0.expr=a\u0026amp;g0.tab=1|97% \u0026lt;full\u0026gt; \u0026amp; rising (instance=db-2)\u003e · *97* · resolved after 30m"}},"##,
            r##"{"type":"actions","elements":[{"type":"button","text":{"type":"plain_text","text":"Runbook"},"url":"https://runbooks.example.org/disk"},{"type":"button","text":{"type":"plain_text","text":"Graph"},"url":"https://prom.example.org/graph?g0.expr=a\u0026g0.tab=1"},"##,
            r##"{"type":"button","text":{"type":"plain_text","text":"Silence"},"url":"https://am.example.org/#/silences/new?filter=%7Balertname%3D%22DiskFull%22%2Cseverity%3D%22critical%22%7D"}]}]}]}"##,
            "\n"
        )
    );
    let one = notification("msteamsv2", "webhook_url: https://h\nstyle: rich");
    assert_eq!(
        body(&one),
        concat!(
            r##"{"type":"message","attachments":[{"contentType":"application/vnd.microsoft.card.adaptive","contentUrl":null,"content":{"$schema":"http://adaptivecards.io/schemas/adaptive-card.json","type":"AdaptiveCard","version":"1.2","body":["##,
            r##"{"type":"Container","style":"attention","bleed":true,"items":[{"type":"TextBlock","text":"[FIRING:1] DiskFull (db-1 critical)","wrap":true,"weight":"Bolder","size":"Medium","color":"Attention"}]},"##,
            r##"{"type":"TextBlock","text":"97% \u003cfull\u003e \u0026 rising","wrap":true},"##,
            r##"{"type":"FactSet","facts":[{"title":"alertname","value":"DiskFull"},{"title":"instance","value":"db-1"},{"title":"severity","value":"critical"}]},"##,
            r##"{"type":"TextBlock","text":"Firing (1)","wrap":true,"weight":"Bolder","separator":true},"##,
            r##"{"type":"TextBlock","text":"[97% \u003cfull\u003e \u0026 rising](https://prom.example.org/graph?g0.expr=a\u0026g0.tab=1) · **97** · since 2026-03-14 08:00 UTC (1h 5m)","wrap":true,"spacing":"Small"}],"##,
            r##""actions":[{"type":"Action.OpenUrl","title":"Runbook","url":"https://runbooks.example.org/disk"},{"type":"Action.OpenUrl","title":"Graph","url":"https://prom.example.org/graph?g0.expr=a\u0026g0.tab=1"},"##,
            r##"{"type":"Action.OpenUrl","title":"Silence","url":"https://am.example.org/#/silences/new?filter=%7Balertname%3D%22DiskFull%22%2Cinstance%3D%22db-1%22%2Cseverity%3D%22critical%22%7D"}],"msteams":{"width":"full"}}}]}"##,
            "\n"
        )
    );
}

#[test]
fn rich_messages_stay_small_and_say_what_is_missing() {
    for (kind, url) in [("slack", "api_url"), ("msteamsv2", "webhook_url")] {
        let mut large = many(kind, &format!("{url}: https://h\nstyle: rich"), 3_000);
        for alert in &mut large.data.alerts {
            alert
                .annotations
                .insert("summary".to_owned(), "\"<&>*".repeat(500));
        }
        large.truncated_alerts = 7;
        let text = body(&large);
        assert!(text.len() <= 28 * 1024, "{kind}: {}", text.len());
        assert!(
            text.contains("Firing (3007)") && text.contains(" more"),
            "{kind}"
        );
    }
}

#[test]
fn discord_gets_an_embed() {
    let settings = "webhook_url: https://h\nmessage: m\nusername: u\navatar_url: nonsense";
    assert_eq!(
        body(&notification("discord", settings)),
        "{\"content\":\"\",\"embeds\":[{\"title\":\"[FIRING:1] DiskFull (db-1 critical)\",\"description\":\"m\",\"color\":10038562}],\"username\":\"u\"}\n"
    );
}

#[test]
fn opsgenie_gets_alerts_by_alias() {
    let settings = r#"
api_key: key
message: '{{ .Status }}'
description: d
tags: 'a,,b'
details: {severity: own}
update_alerts: true
responders: [{name: 'x,y', type: teams}, {name: '{{ .CommonLabels.none }}', type: '{{ "" }}'}, {id: i, type: user}]
"#;
    let alias = crate::receiver::text::hash("{}:{alertname=\"DiskFull\"}");
    let one = notification("opsgenie", settings);
    let mut sent = Vec::new();
    let mut next = step(&one);
    while let Step::Send(request, then) = next {
        let authorization = request
            .headers
            .iter()
            .find(|(name, _)| name == "authorization");
        assert_eq!(authorization.unwrap().1, "GenieKey key");
        let text = String::from_utf8(request.body.clone()).unwrap();
        sent.push(format!("{} {} {text}", request.method, request.url));
        next = then(&Answer::default());
    }
    assert_eq!(
        sent.concat(),
        format!(
            concat!(
                r##"POST https://api.opsgenie.com/v2/alerts {{"alias":"{alias}","message":"firing","description":"d","details":{{"alertname":"DiskFull","instance":"db-1","severity":"own"}},"source":"https://am.example.org/#/alerts?receiver=r","##,
                r##""responders":[{{"name":"x","type":"team"}},{{"name":"y","type":"team"}},{{"id":"i","type":"user"}}],"tags":["a","b"]}}"##,
                "\n",
                r#"PUT https://api.opsgenie.com/v2/alerts/{alias}/message?identifierType=alias {{"message":"firing"}}"#,
                "\n",
                r#"PUT https://api.opsgenie.com/v2/alerts/{alias}/description?identifierType=alias {{"description":"d"}}"#,
                "\n"
            ),
            alias = alias
        )
    );
    let close = request(&resolved("opsgenie", settings));
    assert_eq!(
        close.url,
        format!("https://api.opsgenie.com/v2/alerts/{alias}/close?identifierType=alias")
    );
}

#[test]
fn telegram_gets_messages_with_markup_that_closes() {
    let settings = "bot_token: t\nchat_id: -5\ndisable_notifications: true\nmessage: '<b>{{ .CommonAnnotations.summary }}</b>'";
    let sent = request(&notification("telegram", settings));
    assert_eq!(sent.url, "https://api.telegram.org/bott/sendMessage");
    assert_eq!(
        String::from_utf8(sent.body).unwrap(),
        concat!(
            r#"{"chat_id":"-5","disable_notification":"true","disable_web_page_preview":"true","parse_mode":"HTML","text":"\u003cb\u003e97% \u0026lt;full\u0026gt; \u0026amp; rising\u003c/b\u003e"}"#,
            "\n"
        )
    );
    let large = body(&many("telegram", "bot_token: t\nchat_id: 1", 500));
    assert!(large.contains('…') && large.len() < 10_000);
}

#[test]
fn mattermost_gets_a_message_whose_priority_holds_together() {
    let settings = r#"
webhook_url: https://h
text: t
channel: c
priority: {priority: Important, requested_ack: true, persistent_notifications: true}
attachments: [{title: T, fields: [{title: a, value: b, short: true}], color: red}]
"#;
    assert_eq!(
        body(&notification("mattermost", settings)),
        concat!(
            r#"{"text":"t","channel":"c","username":"Alertmanager","attachments":[{"color":"red","title":"T","fields":[{"title":"a","value":"b","short":true}]}],"priority":{"priority":"important","requested_ack":true}}"#,
            "\n"
        )
    );
}

#[test]
fn rocketchat_gets_a_message() {
    let settings = "token: t\ntoken_id: i\nchannel: c\ntext: x\nfields: [{title: a, value: b}]\nactions: [{text: Go, url: 'https://h'}]";
    let sent = request(&notification("rocketchat", settings));
    assert_eq!(sent.url, "https://open.rocket.chat/api/v1/chat.postMessage");
    let headers: Vec<String> = sent
        .headers
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    assert_eq!(
        headers,
        [
            "content-type=application/json",
            "x-auth-token=t",
            "x-user-id=i"
        ]
    );
    assert_eq!(
        String::from_utf8(sent.body).unwrap(),
        concat!(
            r##"{"channel":"c","attachments":[{"title":"[FIRING:1] DiskFull (db-1 critical)","title_link":"https://am.example.org/#/alerts?receiver=r","text":"x","color":"red","fields":[{"short":false,"title":"a","value":"b"}],"actions":[{"type":"button","text":"Go","url":"https://h"}]}]}"##,
            "\n"
        )
    );
}

#[test]
fn pushover_gets_parameters() {
    let settings = "token: t\nuser_key: u\nmessage: '  '\nttl: 1m\nmonospace: true";
    let sent = request(&notification("pushover", settings));
    assert_eq!(
        sent.url,
        "https://api.pushover.net/1/messages.json?device=&expire=3600&message=%28no+details%29&monospace=1&priority=2&retry=60&sound=&title=%5BFIRING%3A1%5D+DiskFull+%28db-1+critical%29&token=t&ttl=60&url=https%3A%2F%2Fam.example.org%2F%23%2Falerts%3Freceiver%3Dr&url_title=&user=u"
    );
}

#[test]
fn victorops_gets_an_event() {
    let settings = "api_key: k\nrouting_key: team\nmessage_type: odd\nstate_message: s\ncustom_fields: {a: '{{ .Status }}'}";
    let hash = crate::receiver::text::hash("{}:{alertname=\"DiskFull\"}");
    let sent = request(&notification("victorops", settings));
    assert_eq!(
        sent.url,
        "https://alert.victorops.com/integrations/generic/20131114/alert/k/team"
    );
    assert_eq!(
        String::from_utf8(sent.body).unwrap(),
        format!(
            "{{\"a\":\"firing\",\"entity_display_name\":\"[FIRING:1] DiskFull (db-1 critical)\",\"entity_id\":\"{hash}\",\"message_type\":\"CRITICAL\",\"monitoring_tool\":\"Alertmanager\",\"state_message\":\"s\"}}\n"
        )
    );
    assert!(body(&resolved("victorops", settings)).contains("\"message_type\":\"RECOVERY\""));
}

#[test]
fn webex_gets_markdown() {
    let settings = "room_id: r\nmessage: m\nhttp_config: {authorization: {credentials: t}}";
    let sent = request(&notification("webex", settings));
    assert_eq!(sent.url, "https://webexapis.com/v1/messages");
    assert_eq!(sent.body, b"{\"markdown\":\"m\",\"roomId\":\"r\"}\n");
}

#[test]
fn wechat_gets_a_token_first() {
    let settings = "api_secret: s\ncorp_id: c\nmessage: m\nto_user: u";
    let Step::Send(ask, then) = step(&notification("wechat", settings)) else {
        panic!("sends")
    };
    assert_eq!(
        (ask.method.as_str(), ask.url.as_str()),
        (
            "GET",
            "https://qyapi.weixin.qq.com/cgi-bin/gettoken?corpid=c&corpsecret=s"
        )
    );
    let answer = |text: &str| Answer {
        body: text.as_bytes().to_vec(),
        ..Answer::default()
    };
    let Step::Send(send, then) = then(&answer(r#"{"access_token":"a b"}"#)) else {
        panic!("sends")
    };
    assert_eq!(
        send.url,
        "https://qyapi.weixin.qq.com/cgi-bin/message/send?access_token=a+b"
    );
    assert_eq!(
        String::from_utf8(send.body).unwrap(),
        "{\"text\":{\"content\":\"m\"},\"touser\":\"u\",\"safe\":\"0\",\"msgtype\":\"text\",\"markdown\":{\"content\":\"\"}}\n"
    );
    let next = then(&answer(r#"{"errcode":42001,"errmsg":"expired"}"#));
    assert!(
        matches!(next, Step::Done(Outcome::Retry { .. })),
        "{next:?}"
    );
}

#[test]
fn incidentio_gets_version_1_and_one_alert_when_there_are_too_many() {
    let settings = "url: https://h\nalert_source_token: t";
    let sent = request(&notification("incidentio", settings));
    assert_eq!(sent.headers.last().unwrap().1, "Bearer t");
    assert!(sent.body.ends_with(b"\"version\":\"1\",\"groupKey\":\"{}:{alertname=\\\"DiskFull\\\"}\",\"truncatedAlerts\":0}\n"));
    let text = body(&many("incidentio", settings, 3_000));
    assert!(
        text.len() < 2_000 && text.ends_with("\"truncatedAlerts\":2999}\n"),
        "{text}"
    );
}

#[test]
fn jira_gets_one_issue_per_group() {
    let settings = r#"
api_url: https://h.example/rest/api/2
project: P
issue_type: Bug
labels: [z, a]
description: d
resolve_transition: Done it
fields: {customfield_1: {value: '{{ .Status }}'}}
"#;
    let hash = crate::receiver::text::hash("{}:{alertname=\"DiskFull\"}");
    let answer = |text: &str| Answer {
        body: text.as_bytes().to_vec(),
        ..Answer::default()
    };
    let said = |request: &Request| {
        let text = String::from_utf8(request.body.clone()).unwrap();
        format!("{} {} {text}", request.method, request.url)
    };
    let fields = |status: &str, title: &str, priority: &str| {
        format!(
            r#"{{"fields":{{"customfield_1":{{"value":"{status}"}},"description":"d","issuetype":{{"name":"Bug"}},"labels":["ALERT{{{hash}}}","a","z"],"priority":{{"name":"{priority}"}},"project":{{"key":"P"}},"summary":"{title} DiskFull (db-1 critical)"}}}}"#
        ) + "\n"
    };
    let Step::Send(search, then) = step(&notification("jira", settings)) else {
        panic!("sends")
    };
    assert_eq!(
        said(&search),
        format!(
            r#"POST https://h.example/rest/api/2/search {{"fields":["status"],"jql":"statusCategory != Done and project=\"P\" and labels=\"ALERT{{{hash}}}\" order by status ASC,resolutiondate DESC","maxResults":2}}"#
        ) + "\n"
    );
    let Step::Send(create, _) = then(&answer(r#"{"issues":[]}"#)) else {
        panic!("sends")
    };
    assert_eq!(
        said(&create),
        format!(
            "POST https://h.example/rest/api/2/issue {}",
            fields("firing", "[FIRING:1]", "High")
        )
    );
    let Step::Send(_, then) = step(&resolved("jira", settings)) else {
        panic!("sends")
    };
    let open = r#"{"issues":[{"key":"P-1","fields":{"status":{"name":"Open","statusCategory":{"key":"new"}}}}]}"#;
    let Step::Send(update, then) = then(&answer(open)) else {
        panic!("sends")
    };
    assert_eq!(
        said(&update),
        format!(
            "PUT https://h.example/rest/api/2/issue/P-1 {}",
            fields("resolved", "[RESOLVED]", "High")
        )
    );
    let Step::Send(list, then) = then(&answer("")) else {
        panic!("sends")
    };
    assert_eq!(
        said(&list),
        "GET https://h.example/rest/api/2/issue/P-1/transitions "
    );
    let Step::Send(close, _) = then(&answer(r#"{"transitions":[{"id":"31","name":"Done it"}]}"#))
    else {
        panic!("sends")
    };
    assert_eq!(
        said(&close),
        "POST https://h.example/rest/api/2/issue/P-1/transitions {\"transition\":{\"id\":\"31\"}}\n"
    );
}

#[test]
fn sns_gets_a_signed_form() {
    let settings = "topic_arn: arn:aws:sns:eu-west-1:1:t.fifo\nsigv4: {access_key: a, secret_key: s}\nmessage: m ü\nattributes: {k: v}";
    let hash = crate::receiver::text::hash("{}:{alertname=\"DiskFull\"}");
    let sent = request(&notification("sns", settings));
    assert_eq!(sent.url, "https://sns.eu-west-1.amazonaws.com/");
    assert_eq!(
        String::from_utf8(sent.body).unwrap(),
        format!(
            "Action=Publish&Message=m+%C3%BC&MessageAttributes.entry.1.Name=k&MessageAttributes.entry.1.Value.DataType=String&MessageAttributes.entry.1.Value.StringValue=v&MessageDeduplicationId={hash}&MessageGroupId={hash}&Subject=%5BFIRING%3A1%5D+DiskFull+%28db-1+critical%29&TopicArn=arn%3Aaws%3Asns%3Aeu-west-1%3A1%3At.fifo&Version=2010-03-31"
        )
    );
    let headers: Vec<&str> = sent
        .headers
        .iter()
        .map(|(_, value)| value.as_str())
        .collect();
    assert_eq!(headers[1], "20260314T090507Z");
    assert!(headers[2].starts_with("AWS4-HMAC-SHA256 Credential=a/20260314/eu-west-1/sns/aws4_request, SignedHeaders=content-type;host;x-amz-date, Signature="));
}

#[test]
fn sns_is_asked_with_the_keys_of_a_role() {
    let settings = "topic_arn: arn:aws:sns:cn-north-1:1:t\nsigv4: {access_key: a, secret_key: s, role_arn: 'arn:aws:iam::1:role/r', external_id: x}\nmessage: m";
    let Step::Send(asking, next) = step(&notification("sns", settings)) else {
        panic!("the role is asked for")
    };
    assert_eq!(asking.url, "https://sts.cn-north-1.amazonaws.com.cn/");
    assert_eq!(
        String::from_utf8(asking.body.clone()).unwrap(),
        "Action=AssumeRole&DurationSeconds=900&ExternalId=x&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fr&RoleSessionName=promontory&Version=2011-06-15"
    );
    let headers = |request: &Request| -> Vec<String> {
        let headers = request.headers.iter();
        headers
            .map(|(name, value)| format!("{name}: {value}"))
            .collect()
    };
    let scope = "Credential=a/20260314/cn-north-1/sts/aws4_request, SignedHeaders=content-type;host;x-amz-date, ";
    assert!(
        headers(&asking)[2].contains(scope),
        "{:?}",
        headers(&asking)
    );
    let answer = Answer {
        status: 200,
        body: b"<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>A</AccessKeyId><SecretAccessKey>S</SecretAccessKey>\n<SessionToken>T==</SessionToken></Credentials></AssumeRoleResult></AssumeRoleResponse>".to_vec(),
        ..Answer::default()
    };
    let Step::Send(publishing, _) = next(&answer) else {
        panic!("it is published")
    };
    assert_eq!(publishing.url, "https://sns.cn-north-1.amazonaws.com.cn/");
    let scope = "Credential=A/20260314/cn-north-1/sns/aws4_request, SignedHeaders=content-type;host;x-amz-date;x-amz-security-token, ";
    let sent = headers(&publishing);
    assert!(sent[2].contains(scope), "{sent:?}");
    assert_eq!(sent[3], "x-amz-security-token: T==");
}

#[test]
fn a_role_without_keys_is_said_to_have_none() {
    let settings = "topic_arn: arn:aws:sns:eu-west-1:1:t\nsigv4: {access_key: a, secret_key: s, role_arn: r, use_fips_sts_endpoint: true}\nmessage: m";
    let Step::Send(asking, next) = step(&notification("sns", settings)) else {
        panic!("the role is asked for")
    };
    assert_eq!(asking.url, "https://sts-fips.eu-west-1.amazonaws.com/");
    let Step::Done(Outcome::GiveUp(failure)) = next(&Answer::default()) else {
        panic!("nothing is sent")
    };
    assert!(failure.reason.contains("AssumeRole"), "{failure}");
}
