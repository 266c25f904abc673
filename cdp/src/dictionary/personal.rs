//! Which names hold what is personal: identifiers, and attributes of class P2 and above.

use std::collections::BTreeSet;

use actors::model::FieldClass;

use crate::definition::AttributeSchema;
use crate::identity::rules::Rules;

/// Words that a name of something personal contains or is, without blanks and signs, in lower case.
const NAMES: &[&str] = &[
    "name",
    "username",
    "realname",
    "fullname",
    "firstname",
    "lastname",
    "nickname",
    "contact",
    "receiver",
    "recipient",
    "addressee",
    "姓名",
    "昵称",
    "收货人",
    "收件人",
    "联系人",
    "签名",
];
const PARTS: &[&str] = &[
    "phone",
    "mobile",
    "cellphone",
    "telephone",
    "email",
    "mail",
    "wechat",
    "weixin",
    "unionid",
    "openid",
    "userid",
    "memberid",
    "customerid",
    "deviceid",
    "anonymousid",
    "distinctid",
    "idcard",
    "idno",
    "passport",
    "identity",
    "address",
    "street",
    "birthday",
    "birthdate",
    "avatar",
    "password",
    "token",
    "secret",
    "ipaddr",
    "imei",
    "idfa",
    "oaid",
    "androidid",
    "latitude",
    "longitude",
    "cardno",
    "bankcard",
    "手机",
    "电话",
    "邮箱",
    "地址",
    "身份证",
    "微信",
    "生日",
    "护照",
    "卡号",
    "车牌",
];
/// Short ones, as the whole name only.
const WHOLE: &[&str] = &[
    "tel", "ip", "lat", "lon", "lng", "uid", "mac", "qq", "id", "注释", "备注",
];

/// Which names hold what is personal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Personal {
    /// Kinds of identifiers and attributes of class P2 and above, plain.
    names: BTreeSet<String>,
    /// Attributes of class P0 and P1: not personal, whatever they are called.
    open: BTreeSet<Box<str>>,
    /// So are attributes that nobody defined.
    others_open: bool,
}

impl Personal {
    /// As the rules of identity and the schema of attributes say.
    pub fn of(rules: &Rules, schema: &AttributeSchema) -> Personal {
        let kinds = rules.form().kinds.iter();
        let mut names: BTreeSet<String> = kinds.map(|kind| plain(&kind.kind)).collect();
        names.extend(rules.form().traits.iter().map(|it| plain(&it.name)));
        let mut open = BTreeSet::new();
        for attribute in schema.iter() {
            match attribute.class >= FieldClass::P2 {
                true => drop(names.insert(plain(&attribute.name))),
                false => drop(open.insert(attribute.name.clone())),
            }
        }
        Personal {
            names,
            open,
            others_open: schema.unknown_class < FieldClass::P2,
        }
    }

    /// Whether values of a property of this name are personal.
    pub fn property(&self, name: &str) -> bool {
        let plain = plain(name);
        self.names.contains(&plain)
            || NAMES.contains(&&*plain)
            || WHOLE.contains(&&*plain)
            || PARTS.iter().any(|part| plain.contains(part))
    }

    /// Whether values of an attribute are personal: all of them unless the schema says less.
    pub fn attribute(&self, name: &str) -> bool {
        match self.open.contains(name) {
            true => false,
            false => !self.others_open || self.property(name),
        }
    }
}

/// A name without blanks and signs, in lower case.
fn plain(name: &str) -> String {
    name.chars()
        .filter(|char| char.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect()
}
