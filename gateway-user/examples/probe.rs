use gateway_user::dataplane::object::*;
use gateway_common::abi::Settings;
fn main() {
    let mut s = Settings::EMPTY;
    let c = Capacity::default();
    c.apply(&mut s);
    let mut e = match load(OBJECT, &s, &c, None) { Ok(e) => e, Err(e) => { println!("{e} {e:?}"); return } };
    for p in ["wan", "lln"] {
        match verify(&mut e, p) {
            Ok(x) => { let i = x.info().unwrap(); println!("{p} ok xlated {:?} jited {:?} verified {:?}", i.size_translated(), i.size_jitted(), i.verified_instruction_count()); }
            Err(e) => { let t = format!("{e:?}").replace("\\n", "\n"); let l: Vec<&str> = t.lines().collect(); println!("{p}: {} lines", l.len()); for x in l.iter().take(5) { println!("{x}") } for x in l.iter().rev().take(60).rev() { println!("{x}") } }
        }
    }
}
