//! `work()` chains: what they declare is read at build time.
//!
//! A chain is a statement of the top level, or the value of a `const`, whose name
//! can then only go on with the chain. A file with no chain, or with exactly one
//! that has neither a function argument nor a self-contained verb, is a script;
//! every other file is a module.

use std::collections::HashMap;

use forebay_bytecode::module::{Action, Durable, Position, Retry, Route, Work};
use forebay_bytecode::{HostFn, Op};
use oxc_ast::ast::{
    Argument, BindingPattern, CallExpression, Expression, ObjectPropertyKind, PropertyKey, Statement,
    StaticMemberExpression,
};
use oxc_semantic::Semantic;
use oxc_span::{GetSpan, Span};
use oxc_syntax::symbol::SymbolId;

use super::function::strip;
use super::{Lower, Want};
use crate::diagnostic::{Sink, did_you_mean};
use crate::files::Files;
use forebay_bytecode::FunctionIndex;

/// Methods that are built.
const METHODS: &[&str] = &[
    "router", "get", "post", "put", "patch", "delete", "listen", "handle", "version", "timeout", "limits",
    "file", "assets", "static", "redirect", "durable", "retry",
];
/// Most tries of `.retry(n)`.
const RETRIES_MAX: u32 = 1000;
/// Methods of the design that aren't built yet.
const NOT_BUILT: &[&str] = &[
    "use",
    "on",
    "sse",
    "every",
    "schedule",
    "hourly",
    "daily",
    "weekly",
    "monthly",
    "cache",
    "limit",
    "idempotent",
    "cors",
    "auth",
    "render",
    "done",
    "fail",
    "as",
];
/// Methods that answer without a function.
const SELF_CONTAINED: &[&str] = &["file", "assets", "redirect", "render"];
const HTTP_METHODS: &[&str] = &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// What a first look at the blueprint finds.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    /// Handler style: the top level runs once at load.
    pub(crate) is_module: bool,
    /// Variables of the blueprint that hold works.
    variables: HashMap<SymbolId, usize>,
}

/// A chain: where it begins and its links in order.
pub(super) struct Chain<'a> {
    root: Root<'a>,
    links: Vec<(&'a StaticMemberExpression<'a>, &'a CallExpression<'a>)>,
}

#[derive(Clone, Copy)]
enum Root<'a> {
    /// `work("Name")`.
    New(&'a CallExpression<'a>),
    /// A variable that holds the work of this number.
    Variable(usize),
}

/// A work under construction.
#[derive(Default)]
struct Pending {
    /// Routes that nothing answers yet.
    routes: Vec<usize>,
    /// What `retry()` says, and where.
    retry: Option<(Retry, Span)>,
}

impl Survey {
    pub(super) fn of(files: &Files<'_>, _sink: &mut Sink) -> Self {
        let mut survey = Self::default();
        let Some(file) = files.list.first() else { return survey };
        let mut count = 0;
        let mut needs_module = false;
        let mut look = |survey: &mut Self, e, variable: Option<SymbolId>| {
            let Some(chain) = chain_of(&file.semantic, survey, e) else { return };
            if let Root::New(_) = chain.root {
                if let Some(symbol) = variable {
                    survey.variables.insert(symbol, count);
                }
                count += 1;
            }
            for (member, call) in &chain.links {
                needs_module |= SELF_CONTAINED.contains(&member.property.name.as_str());
                needs_module |= call.arguments.iter().any(is_function_like);
            }
        };
        for statement in &file.program.body {
            match statement {
                Statement::ExpressionStatement(s) => look(&mut survey, &s.expression, None),
                Statement::VariableDeclaration(d) => {
                    for declarator in &d.declarations {
                        let symbol = match &declarator.id {
                            BindingPattern::BindingIdentifier(id) => id.symbol_id.get(),
                            _ => None,
                        };
                        if let Some(init) = &declarator.init {
                            look(&mut survey, init, symbol);
                        }
                    }
                }
                _ => {}
            }
        }
        survey.is_module = needs_module || count > 1;
        survey
    }

    /// The number of the work that a variable holds.
    pub(super) fn work_of(&self, file: usize, symbol: SymbolId) -> Option<usize> {
        if file == 0 { self.variables.get(&symbol).copied() } else { None }
    }
}

fn is_function_like(argument: &Argument<'_>) -> bool {
    match argument.as_expression().map(strip) {
        Some(
            Expression::StringLiteral(_)
            | Expression::NumericLiteral(_)
            | Expression::TemplateLiteral(_)
            | Expression::ObjectExpression(_)
            | Expression::ArrayExpression(_)
            | Expression::BooleanLiteral(_)
            | Expression::NullLiteral(_)
            | Expression::UnaryExpression(_)
            | Expression::BinaryExpression(_),
        )
        | None => false,
        Some(_) => true,
    }
}

fn chain_of<'a>(semantic: &Semantic<'a>, survey: &Survey, e: &'a Expression<'a>) -> Option<Chain<'a>> {
    let mut links = Vec::new();
    let mut e = strip(e);
    loop {
        let Expression::CallExpression(call) = e else {
            let Expression::Identifier(id) = e else { return None };
            let symbol = semantic.scoping().get_reference(id.reference_id.get()?).symbol_id()?;
            let work = *survey.variables.get(&symbol)?;
            if links.is_empty() {
                return None;
            }
            links.reverse();
            return Some(Chain { root: Root::Variable(work), links });
        };
        match strip(&call.callee) {
            Expression::StaticMemberExpression(member) => {
                links.push((&**member, &**call));
                e = strip(&member.object);
            }
            Expression::Identifier(id) if id.name == "work" => {
                let reference = semantic.scoping().get_reference(id.reference_id.get()?);
                if reference.symbol_id().is_some() {
                    return None;
                }
                links.reverse();
                return Some(Chain { root: Root::New(call), links });
            }
            _ => return None,
        }
    }
}

impl<'a> Lower<'_, 'a> {
    pub(super) fn work_chain(&self, e: &'a Expression<'a>) -> Option<Chain<'a>> {
        if self.file() != 0 || self.functions.len() != 1 {
            return None;
        }
        chain_of(&self.files.list[0].semantic, &self.survey, e)
    }

    /// Reads a chain; functions among its arguments are stored as handlers.
    pub(super) fn work_links(&mut self, chain: &Chain<'a>) {
        let work = match chain.root {
            Root::New(call) => {
                self.new_work(call);
                self.module.works.len() - 1
            }
            Root::Variable(work) => work,
        };
        if work >= self.module.works.len() {
            // Declared further down: the variable isn't initialised yet.
            let span = chain.links.first().map_or(Span::default(), |(m, _)| m.span);
            self.error("FB0502", span, "this work is declared further down", None);
            return;
        }
        let mut pending = Pending {
            routes: (0..self.module.works[work].routes.len())
                .filter(|i| is_pending(&self.module.works[work].routes[*i].action))
                .collect(),
            retry: None,
        };
        for (member, call) in &chain.links {
            self.work_link(work, &mut pending, member, call);
        }
        self.retried(work, pending.retry);
        self.check_durable(work);
    }

    /// `retry(5, "1s")`, wherever it stands in the chain.
    fn retried(&mut self, work: usize, retry: Option<(Retry, Span)>) {
        let Some((retry, span)) = retry else { return };
        match &mut self.module.works[work].durable {
            Some(durable) => durable.retry = Some(retry),
            None => {
                let hint = "add `.durable()`: a handler that isn't can't be run again without its client";
                self.error("FB0512", span, "only durable works are tried again", Some(hint));
            }
        }
    }

    /// What a durable work's routes must be like.
    fn check_durable(&mut self, work: usize) {
        let of = &self.module.works[work];
        let Some(durable) = &of.durable else { return };
        let names = durable.id.as_deref().map(template_names).unwrap_or_default();
        let mut wrong = Vec::new();
        if of.static_seconds.is_some()
            && let Some(route) = of.routes.first()
        {
            let message = "a durable work has no `static()`: its answer is a task's".to_owned();
            let span = Span::new(route.position.start, route.position.end);
            wrong.push((span, message, "remove it".to_owned()));
        }
        for route in &of.routes {
            let span = Span::new(route.position.start, route.position.end);
            if matches!(&*route.method, "GET" | "HEAD" | "OPTIONS" | "LISTEN") {
                let message = format!("{} can't start a durable task", route.method);
                wrong.push((span, message, "POST, PUT, PATCH and DELETE do".to_owned()));
            }
            if matches!(route.action, Action::File(_) | Action::Assets(_) | Action::Redirect(..)) {
                let message = "a durable work runs a function".to_owned();
                wrong.push((span, message, "`.post(\"/orders\", req => ...).durable()`".to_owned()));
            }
            for name in &names {
                let there = route.pattern.contains(&format!("{{{name}}}"));
                if !there {
                    let message = format!("the route has no parameter `{{{name}}}` for the task's id");
                    let hint = format!("the id is `{}`", durable.id.as_deref().unwrap_or_default());
                    wrong.push((span, message, hint));
                }
            }
        }
        for (span, message, hint) in wrong {
            self.error("FB0512", span, message, Some(&hint));
        }
    }

    /// `durable({id: "order-{number}"})`.
    fn durable(&mut self, work: usize, argument: Option<&'a Argument<'a>>, span: Span) {
        let example = "`durable()`, or `durable({id: \"order-{number}\"})` with a parameter of the path";
        if self.module.works[work].durable.is_some() {
            self.error("FB0503", span, "the work is durable already", None);
            return;
        }
        let mut durable = Durable::default();
        if let Some(argument) = argument {
            let Some(Expression::ObjectExpression(o)) = argument.as_expression().map(strip) else {
                self.error("FB0503", argument.span(), "options are an object literal", Some(example));
                return;
            };
            for property in &o.properties {
                let ObjectPropertyKind::ObjectProperty(p) = property else {
                    self.error("FB0503", property.span(), "an option is a constant", None);
                    continue;
                };
                let name = self.static_key(&p.key, p.computed).unwrap_or_default();
                if name != "id" {
                    let hint = did_you_mean(&name, ["id"]).unwrap_or_else(|| "there is id".into());
                    self.error("FB0503", p.key.span(), format!("there is no option `{name}`"), Some(&hint));
                    continue;
                }
                let Expression::StringLiteral(text) = strip(&p.value) else {
                    self.error("FB0503", p.value.span(), "a task's id is a constant text", Some(example));
                    continue;
                };
                if let Err(why) = check_template(&text.value) {
                    self.error("FB0503", p.value.span(), why, Some(example));
                    continue;
                }
                durable.id = Some(text.value.as_str().into());
            }
        }
        self.module.works[work].durable = Some(durable);
    }

    fn new_work(&mut self, call: &'a CallExpression<'a>) {
        let name = match call.arguments.as_slice() {
            [only] => self.constant_string(only),
            _ => {
                self.error("FB0503", call.span, "a work has a name", Some("`work(\"Name\")`"));
                None
            }
        };
        let name = name.unwrap_or_default();
        if !name.is_empty()
            && let Some(first) = self.work_names.insert(name.clone(), call.span)
        {
            let mut diagnostic = self.files.list[0].error(
                "FB0507",
                call.span,
                format!("there are two works \"{name}\""),
                None,
            );
            let place = crate::Place { start: first.start, end: first.end };
            diagnostic.labels.push((place, "the first one".into()));
            self.sink.push(diagnostic);
        }
        self.module.works.push(Work { name: name.into(), ..Work::default() });
    }

    fn work_link(
        &mut self,
        work: usize,
        pending: &mut Pending,
        member: &'a StaticMemberExpression<'a>,
        call: &'a CallExpression<'a>,
    ) {
        let method = member.property.name.as_str();
        let span = Span::new(member.property.span.start, call.span.end);
        let arguments = call.arguments.as_slice();
        let signature = match method {
            "router" => "router(method, path)",
            "get" | "post" | "put" | "patch" | "delete" => "get(path[, handler])",
            "listen" => "listen(channel, handler)",
            "handle" => "handle(handler)",
            "version" => "version(\"1.5.0\")",
            "timeout" => "timeout(\"30s\")",
            "limits" => "limits({fuel, wall, memory, stack_depth, fibers, effects})",
            "file" => "file(path)",
            "assets" => "assets(folder)",
            "static" => "static(\"24h\")",
            "redirect" => "redirect(to[, status])",
            "durable" => "durable([{id}])",
            "retry" => "retry(n[, \"1s\"])",
            _ if NOT_BUILT.contains(&method) => {
                self.error("FB0505", member.property.span, format!("`.{method}()` is not built yet"), None);
                return;
            }
            _ => {
                let known = METHODS.iter().chain(NOT_BUILT).copied();
                let hint = did_you_mean(method, known)
                    .unwrap_or_else(|| format!("there are {}", METHODS.join(", ")));
                let message = format!("a work has no method `{method}`");
                self.error("FB0504", member.property.span, message, Some(&hint));
                return;
            }
        };
        let (least, most) = match method {
            "router" => (2, 3),
            "listen" => (2, 2),
            "get" | "post" | "put" | "patch" | "delete" | "redirect" => (1, 2),
            "durable" => (0, 1),
            "retry" => (1, 2),
            _ => (1, 1),
        };
        if arguments.len() < least || arguments.len() > most {
            self.error(
                "FB0503",
                span,
                format!("wrong number of arguments for `.{method}()`"),
                Some(signature),
            );
            return;
        }
        match method {
            "router" => {
                let Some(verb) = self.constant_string(&arguments[0]) else { return };
                let verb = verb.to_ascii_uppercase();
                if !HTTP_METHODS.contains(&verb.as_str()) {
                    let hint = did_you_mean(&verb, HTTP_METHODS.iter().copied())
                        .unwrap_or_else(|| format!("there are {}", HTTP_METHODS.join(", ")));
                    let message = format!("`{verb}` is not an HTTP method");
                    self.error("FB0508", arguments[0].span(), message, Some(&hint));
                    return;
                }
                self.route(work, pending, &verb, &arguments[1], arguments.get(2), span);
            }
            "get" | "post" | "put" | "patch" | "delete" => {
                let verb = method.to_ascii_uppercase();
                self.route(work, pending, &verb, &arguments[0], arguments.get(1), span);
            }
            "listen" => self.listen(work, &arguments[0], &arguments[1], span),
            "handle" => {
                let slot = self.handler(&arguments[0]);
                self.answer(work, pending, &Action::Handler(slot.unwrap_or(0)), span);
            }
            "version" => {
                if let Some(version) = self.constant_string(&arguments[0]) {
                    self.module.works[work].version = Some(version.into());
                }
            }
            "timeout" => {
                if let Some(ms) = self.constant_duration(&arguments[0]) {
                    self.module.works[work].limits.wall_ms = Some(ms);
                }
            }
            "limits" => self.limits(work, &arguments[0]),
            "durable" => self.durable(work, arguments.first(), span),
            "retry" => {
                let times = self.constant_number(&arguments[0]);
                let whole = (0..=RETRIES_MAX).find(|n| times == Some(f64::from(*n)));
                if times.is_some() && whole.is_none() {
                    let message = format!("tries are a whole number from 0 to {RETRIES_MAX}");
                    self.error("FB0503", arguments[0].span(), message, Some("`.retry(5, \"1s\")`"));
                }
                let wait_ms = match arguments.get(1) {
                    None => Some(1000),
                    Some(wait) => self.constant_duration(wait),
                };
                if let (Some(times), Some(wait_ms)) = (whole, wait_ms) {
                    pending.retry = Some((Retry { times, wait_ms }, span));
                }
            }
            "file" => {
                let path = self.constant_path(&arguments[0]).unwrap_or_default();
                self.answer(work, pending, &Action::File(path.into()), span);
            }
            "assets" => {
                let path = self.constant_path(&arguments[0]).unwrap_or_default();
                for &route in &pending.routes {
                    let route = &mut self.module.works[work].routes[route];
                    if !route.pattern.contains("{*") {
                        route.pattern = format!("{}/{{*rest}}", route.pattern.trim_end_matches('/')).into();
                    }
                }
                self.answer(work, pending, &Action::Assets(path.into()), span);
            }
            "static" => {
                if let Some(ms) = self.constant_duration(&arguments[0]) {
                    self.module.works[work].static_seconds = Some(ms / 1000);
                }
            }
            "redirect" => {
                let to = self.constant_string(&arguments[0]);
                let status = match arguments.get(1) {
                    None => Some(302.0),
                    Some(status) => self.constant_number(status),
                };
                let known = [301u16, 302, 303, 307, 308].into_iter().find(|s| Some(f64::from(*s)) == status);
                if status.is_some() && known.is_none() {
                    let hint = "301, 302, 303, 307 or 308";
                    self.error(
                        "FB0503",
                        arguments[1].span(),
                        "this is not a status of a redirect",
                        Some(hint),
                    );
                }
                let action = Action::Redirect(to.unwrap_or_default().into(), known.unwrap_or(302));
                self.answer(work, pending, &action, span);
            }
            _ => self.error("FB0999", span, "this link can't be compiled", None),
        }
    }

    fn route(
        &mut self,
        work: usize,
        pending: &mut Pending,
        method: &str,
        path: &'a Argument<'a>,
        handler: Option<&'a Argument<'a>>,
        span: Span,
    ) {
        let Some(pattern) = self.constant_string(path) else { return };
        if let Err(why) = check_pattern(&pattern) {
            self.error("FB0509", path.span(), why, Some("`/users/{id}`, or `/files/{*rest}` for any depth"));
            return;
        }
        let key = (method.to_string(), normalised(&pattern));
        if let Some(first) = self.route_names.insert(key, span) {
            let message = format!("there are two routes {method} {pattern}");
            let mut diagnostic = self.files.list[0].error("FB0510", span, message, None);
            let place = crate::Place { start: first.start, end: first.end };
            diagnostic.labels.push((place, "the first one".into()));
            self.sink.push(diagnostic);
            return;
        }
        let action = match handler {
            Some(handler) => match self.handler(handler) {
                Some(slot) => Action::Handler(slot),
                None => return,
            },
            None => {
                pending.routes.push(self.module.works[work].routes.len());
                pending_action()
            }
        };
        let position = Position { pc: 0, file: 0, start: span.start, end: span.end };
        self.module.works[work].routes.push(Route {
            method: method.into(),
            pattern: pattern.into(),
            action,
            position,
        });
    }

    /// A handler of what the database notifies: in the module it is a route whose method is LISTEN.
    fn listen(&mut self, work: usize, channel: &'a Argument<'a>, handler: &'a Argument<'a>, span: Span) {
        let Some(name) = self.constant_string(channel) else { return };
        if name.is_empty() || name.len() > 63 || name.contains('\0') {
            let message = "a channel's name has 1 to 63 bytes";
            self.error("FB0503", channel.span(), message, Some("`listen(\"orders\", event => ...)`"));
            return;
        }
        if let Some(first) = self.route_names.insert(("LISTEN".to_owned(), name.clone()), span) {
            let message = format!("there are two handlers of the channel {name:?}");
            let mut diagnostic = self.files.list[0].error("FB0510", span, message, None);
            let place = crate::Place { start: first.start, end: first.end };
            diagnostic.labels.push((place, "the first one".into()));
            self.sink.push(diagnostic);
            return;
        }
        let Some(slot) = self.handler(handler) else { return };
        self.note_use(HostFn::Db);
        let position = Position { pc: 0, file: 0, start: span.start, end: span.end };
        self.module.works[work].routes.push(Route {
            method: "LISTEN".into(),
            pattern: name.into(),
            action: Action::Handler(slot),
            position,
        });
    }

    /// Lets the routes that wait for an answer have it.
    fn answer(&mut self, work: usize, pending: &mut Pending, action: &Action, span: Span) {
        if pending.routes.is_empty() {
            let hint = "a route comes first: `work(\"Name\").get(\"/path\")`";
            self.error("FB0506", span, "this answers no route", Some(hint));
        }
        for route in pending.routes.drain(..) {
            self.module.works[work].routes[route].action = action.clone();
        }
    }

    /// Stores a handler; the number of its slot.
    fn handler(&mut self, argument: &'a Argument<'a>) -> Option<u32> {
        let e = argument.as_expression()?;
        if !is_function_like(argument) {
            self.error("FB0503", e.span(), "a handler is a function", Some("`req => ...`"));
            return None;
        }
        let params = match strip(e) {
            Expression::ArrowFunctionExpression(f) => Some(&f.params),
            Expression::FunctionExpression(f) => Some(&f.params),
            _ => None,
        };
        let takes_request = match strip(e) {
            Expression::ArrowFunctionExpression(f) => !f.params.items.is_empty() || f.params.rest.is_some(),
            _ => true,
        };
        match params.and_then(|params| params.items.first()).map(|first| &first.pattern) {
            Some(BindingPattern::BindingIdentifier(id)) => self.requests.extend(id.symbol_id.get()),
            Some(BindingPattern::ObjectPattern(o)) => {
                for property in &o.properties {
                    if let PropertyKey::StaticIdentifier(key) = &property.key {
                        self.check_request_member(&key.name, key.span);
                    }
                }
            }
            _ => {}
        }
        if takes_request {
            self.uses_request();
        }
        let mark = self.f().next;
        let register = self.named_expression(e, "", Want::Any);
        let slot = self.module.handler_slots;
        self.module.handler_slots += 1;
        self.f().abx(Op::SetHandler, register, slot, e.span());
        self.f().next = mark;
        Some(slot)
    }

    fn limits(&mut self, work: usize, argument: &'a Argument<'a>) {
        const KEYS: &[&str] = &["fuel", "wall", "memory", "stack_depth", "fibers", "effects"];
        let Some(Expression::ObjectExpression(o)) = argument.as_expression().map(strip) else {
            self.error(
                "FB0503",
                argument.span(),
                "limits are an object literal",
                Some("`limits({fuel: 1000000})`"),
            );
            return;
        };
        for property in &o.properties {
            let ObjectPropertyKind::ObjectProperty(p) = property else {
                self.error("FB0503", property.span(), "a limit is a constant", None);
                continue;
            };
            let name = self.static_key(&p.key, p.computed).unwrap_or_default();
            let value = match name.as_str() {
                "wall" => self.duration_of(&p.value),
                "memory" => self.bytes_of(&p.value),
                _ if KEYS.contains(&name.as_str()) => self.count_of(&p.value),
                _ => {
                    let hint = did_you_mean(&name, KEYS.iter().copied())
                        .unwrap_or_else(|| format!("there are {}", KEYS.join(", ")));
                    self.error("FB0503", p.key.span(), format!("there is no limit `{name}`"), Some(&hint));
                    continue;
                }
            };
            let limits = &mut self.module.works[work].limits;
            match name.as_str() {
                "fuel" => limits.fuel = value,
                "wall" => limits.wall_ms = value,
                "memory" => limits.memory = value,
                "stack_depth" => limits.stack_depth = value,
                "fibers" => limits.fibers = value,
                _ => limits.effects = value,
            }
        }
    }

    /// Ends the works of a script: its body answers their routes.
    pub(super) fn works_of_script(&mut self, main: FunctionIndex) {
        for work in &mut self.module.works {
            for route in &mut work.routes {
                if is_pending(&route.action) {
                    route.action = Action::Function(main);
                }
            }
        }
    }

    /// Ends the works of a module: each route has an answer.
    pub(super) fn finish_works(&mut self) {
        let mut missing = Vec::new();
        for route in self.module.works.iter().flat_map(|w| &w.routes) {
            if is_pending(&route.action) {
                let span = Span::new(route.position.start, route.position.end);
                missing.push((span, format!("nothing answers {} {}", route.method, route.pattern)));
            }
        }
        for (span, message) in missing {
            let f = &self.files.list[0];
            let hint = "give it a handler: `.get(\"/path\", req => ...)`".to_string();
            self.sink.push(f.error("FB0506", span, message, Some(hint)));
        }
    }

    // Constants.

    fn not_constant(&mut self, span: Span, what: &str) {
        let hint = "a work() chain is read at build time: write the value itself";
        self.error("FB0503", span, format!("this must be {what}"), Some(hint));
    }

    fn constant_string(&mut self, argument: &'a Argument<'a>) -> Option<String> {
        let text = match argument.as_expression().map(strip) {
            Some(Expression::StringLiteral(s)) => Some(s.value.to_string()),
            Some(Expression::TemplateLiteral(t)) if t.expressions.is_empty() => {
                t.quasis.first().and_then(|q| q.value.cooked).map(|c| c.to_string())
            }
            _ => None,
        };
        if text.is_none() {
            self.not_constant(argument.span(), "a constant string");
        }
        text
    }

    fn constant_number(&mut self, argument: &'a Argument<'a>) -> Option<f64> {
        match argument.as_expression().map(strip) {
            Some(Expression::NumericLiteral(n)) => Some(n.value),
            _ => {
                self.not_constant(argument.span(), "a constant number");
                None
            }
        }
    }

    /// A path below the app's folder.
    fn constant_path(&mut self, argument: &'a Argument<'a>) -> Option<String> {
        let path = self.constant_string(argument)?;
        let leaves = path.split('/').any(|part| part == "..") || path.contains('\\') || path.contains('\0');
        if leaves || path.is_empty() {
            self.error("FB0503", argument.span(), "this is not a path below the app's folder", None);
            return None;
        }
        Some(path.trim_start_matches("./").trim_matches('/').to_string())
    }

    fn constant_duration(&mut self, argument: &'a Argument<'a>) -> Option<u64> {
        match argument.as_expression() {
            Some(e) => self.duration_of(e),
            None => {
                self.not_constant(argument.span(), "a duration");
                None
            }
        }
    }

    /// Milliseconds.
    fn duration_of(&mut self, e: &'a Expression<'a>) -> Option<u64> {
        let ms = match strip(e) {
            Expression::NumericLiteral(n) => whole(n.value),
            Expression::StringLiteral(s) => with_unit(
                &s.value,
                &[("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)],
            ),
            _ => None,
        };
        if ms.is_none() {
            self.error(
                "FB0503",
                e.span(),
                "this must be a duration",
                Some("`\"30s\"`, `\"500ms\"`, `\"24h\"`, or milliseconds"),
            );
        }
        ms
    }

    fn bytes_of(&mut self, e: &'a Expression<'a>) -> Option<u64> {
        let bytes = match strip(e) {
            Expression::NumericLiteral(n) => whole(n.value),
            Expression::StringLiteral(s) => {
                // As in forebay.toml.
                let units = [
                    ("KiB", 1 << 10),
                    ("MiB", 1 << 20),
                    ("GiB", 1 << 30),
                    ("kB", 1000),
                    ("KB", 1000),
                    ("MB", 1_000_000),
                    ("GB", 1_000_000_000),
                    ("B", 1),
                ];
                with_unit(&s.value, &units)
            }
            _ => None,
        };
        if bytes.is_none() {
            self.error("FB0503", e.span(), "this must be a size", Some("`\"64MiB\"`, or bytes"));
        }
        bytes
    }

    fn count_of(&mut self, e: &'a Expression<'a>) -> Option<u64> {
        let count = match strip(e) {
            Expression::NumericLiteral(n) => whole(n.value),
            _ => None,
        };
        if count.is_none() {
            self.not_constant(e.span(), "a whole number");
        }
        count
    }
}

/// An action that stands for "not answered yet": no module has this function.
fn pending_action() -> Action {
    Action::Function(FunctionIndex(u32::MAX))
}

fn is_pending(action: &Action) -> bool {
    *action == pending_action()
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole and in range")]
fn whole(value: f64) -> Option<u64> {
    (value.fract() == 0.0 && (1.0..=9_007_199_254_740_991.0).contains(&value)).then_some(value as u64)
}

/// `30s`: a whole number and one of the units.
fn with_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit = units.iter().find(|(name, _)| *name == unit.trim())?.1;
    number.parse::<u64>().ok()?.checked_mul(unit).filter(|v| *v > 0)
}

/// A pattern with the names of its parameters taken out: what makes two routes the same.
pub(crate) fn normalised(pattern: &str) -> String {
    let segment = |s: &str| match s {
        s if s.starts_with("{*") => "{*}".to_string(),
        s if s.starts_with('{') => "{}".to_string(),
        s => s.to_string(),
    };
    pattern.split('/').map(segment).collect::<Vec<_>>().join("/")
}

/// The parameters that a task's id names.
fn template_names(id: &str) -> Vec<String> {
    id.split('{').skip(1).filter_map(|rest| rest.split_once('}')).map(|(name, _)| name.to_owned()).collect()
}

/// A task's id: letters, digits, `-`, `.`, `_`, `~`, and parameters of the path.
fn check_template(id: &str) -> Result<(), String> {
    let mut rest = id;
    let fixed = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b));
    while let Some((before, after)) = rest.split_once('{') {
        let Some((name, behind)) = after.split_once('}') else {
            return Err("a parameter isn't closed: `{name}`".into());
        };
        if !fixed(before) || name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        {
            return Err("a task's id has letters, digits, `-`, `.`, `_`, `~` and `{parameters}`".into());
        }
        rest = behind;
    }
    if id.is_empty() || !fixed(rest) {
        return Err("a task's id has letters, digits, `-`, `.`, `_`, `~` and `{parameters}`".into());
    }
    Ok(())
}

fn check_pattern(pattern: &str) -> Result<(), String> {
    let Some(rest) = pattern.strip_prefix('/') else {
        return Err("a path begins with `/`".into());
    };
    if pattern.contains(['?', '#', ' ']) {
        return Err("a path has neither query, fragment nor spaces".into());
    }
    let mut names = Vec::new();
    let segments: Vec<&str> = rest.split('/').collect();
    for (i, segment) in segments.iter().enumerate() {
        let Some(inner) = segment.strip_prefix('{') else {
            if segment.contains(['{', '}']) {
                return Err(format!("`{segment}`: a parameter takes a whole segment"));
            }
            if let Some(name) = segment.strip_prefix(':') {
                return Err(format!("`{segment}`: parameters are written `{{{name}}}`"));
            }
            continue;
        };
        let Some(name) = inner.strip_suffix('}') else {
            return Err(format!("`{segment}`: a parameter takes a whole segment"));
        };
        let is_rest = name.starts_with('*');
        let name = name.trim_start_matches('*');
        let good = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || !name.chars().all(good) || name.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(format!("`{segment}`: a parameter needs a name of letters, digits and `_`"));
        }
        if is_rest && i + 1 != segments.len() {
            return Err(format!("`{segment}` must be the last segment"));
        }
        if names.contains(&name) {
            return Err(format!("two parameters are called `{name}`"));
        }
        names.push(name);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        let check = |pattern: &str, good: bool| assert_eq!(check_pattern(pattern).is_ok(), good, "{pattern}");
        for good in ["/", "/users/{id}", "/files/{*rest}", "/a/{b}/c/{d}"] {
            check(good, true);
        }
        for bad in ["users", "/:id", "/{a}/{a}", "/{*rest}/x", "/{}", "/a{b}", "/{1}", "/a?b"] {
            check(bad, false);
        }
    }

    #[test]
    fn units() {
        let check =
            |text: &str, value| assert_eq!(with_unit(text, &[("ms", 1), ("s", 1000)]), value, "{text}");
        check("30s", Some(30_000));
        check("5 ms", Some(5));
        check("0s", None);
        check("s", None);
        check("5x", None);
        check("99999999999999999999s", None);
    }
}
